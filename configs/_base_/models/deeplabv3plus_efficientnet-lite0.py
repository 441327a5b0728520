# DeepLabV3+ (Chen et al., ECCV 2018) on EfficientNet-Lite0. The paper's dilations 6, 12, 18 are for stride 16; at
# stride 32 the same fields of view take half of them. Its pooled features need batches of at least two images.
_base_ = ['./parts/efficientnet-lite0.py']

model = dict(
    decode_head=dict(
        type='DepthwiseSeparableASPPHead',
        in_channels=320,
        in_index=3,
        channels=256,
        dilations=(1, 3, 6, 9),
        c1_in_channels=24,
        c1_channels=48,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg={{_base_.norm_cfg}},
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)))
