# DAFormer (Hoyer et al., CVPR 2022): MiT-B0 and context-aware fusion by a depthwise separable ASPP.
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512)),
    backbone=dict(
        type='FusedMixVisionTransformer',
        variant='b0',
        drop_path_rate=0.1,
        # ImageNet-1k weights, NVIDIA Source Code License: research and evaluation only, not for commercial use.
        # Another variant: model.segmentor.backbone.variant and the weights of mit_variants.py go together.
        init_cfg=dict(
            type='VerifiedPretrained',
            checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/'
            'mit_b0_20220624-7e0fe6dd.pth')),
    decode_head=dict(
        type='DAFormerHead',
        in_channels=[32, 64, 160, 256],
        in_index=[0, 1, 2, 3],
        channels=256,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        decoder_params=dict(
            embed_dims=256,
            embed_cfg=dict(type='mlp'),
            fusion_cfg=dict(
                type='aspp',
                sep=True,
                dilations=(1, 6, 12, 18),
                pool=False,
                norm_cfg=norm_cfg,
                act_cfg=dict(type='ReLU'))),
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
