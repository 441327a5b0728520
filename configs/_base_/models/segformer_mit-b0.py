# SegFormer (Xie et al., NeurIPS 2021) with the small encoder MiT-B0.
_base_ = ['./segformer_mit-b5.py']

model = dict(
    backbone=dict(
        variant='b0',
        init_cfg=dict(
            checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/'
            'mit_b0_20220624-7e0fe6dd.pth')),
    decode_head=dict(in_channels=[32, 64, 160, 256]))
