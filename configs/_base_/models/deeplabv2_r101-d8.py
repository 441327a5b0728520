# DeepLabV2 (Chen et al., TPAMI 2018) with its four dilations, on ResNet-101, stride 8.
_base_ = ['./parts/segmentor.py']

model = dict(
    backbone=dict(
        type='ResNetV1c',
        depth=101,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        norm_cfg={{_base_.norm_cfg}},
        norm_eval=False,
        style='pytorch',
        contract_dilation=True,
        # ImageNet-1k weights of OpenMMLab, Apache License 2.0.
        init_cfg=dict(type='VerifiedPretrained', checkpoint='open-mmlab://resnet101_v1c')),
    decode_head=dict(
        type='DLV2Head',
        in_channels=2048,
        in_index=3,
        dilations=(6, 12, 18, 24),
        num_classes=19,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)))
