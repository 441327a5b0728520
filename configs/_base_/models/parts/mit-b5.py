# The encoder MiT-B5 of SegFormer (Xie et al., NeurIPS 2021); a network adds its head.
_base_ = ['./segmentor.py']

model = dict(
    backbone=dict(
        type='FusedMixVisionTransformer',
        variant='b5',
        drop_path_rate=0.1,
        # ImageNet-1k weights, NVIDIA Source Code License: research and evaluation only, not for commercial use.
        # Another variant: model.segmentor.backbone.variant and the weights of mit_variants.py go together.
        init_cfg=dict(
            type='VerifiedPretrained',
            checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/'
            'mit_b5_20220624-658746d9.pth')),
    decode_head=dict(in_channels=[64, 128, 320, 512], in_index=[0, 1, 2, 3]))
