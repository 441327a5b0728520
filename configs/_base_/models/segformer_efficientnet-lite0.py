# SegFormer's head (Xie et al., NeurIPS 2021) on EfficientNet-Lite0.
_base_ = ['./parts/efficientnet-lite0.py']

model = dict(
    decode_head=dict(
        type='LevelwiseSegformerHead',
        in_channels=[24, 40, 112, 320],
        in_index=[0, 1, 2, 3],
        channels=256,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg={{_base_.norm_cfg}},
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)))
