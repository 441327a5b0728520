# SegFormer (Xie et al., NeurIPS 2021): MiT-B5 and mmseg's MLP head.
_base_ = ['./parts/mit-b5.py']

model = dict(
    decode_head=dict(
        type='LevelwiseSegformerHead',
        channels=256,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg={{_base_.norm_cfg}},
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)))
