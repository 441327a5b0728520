# DeepLabV2 (Chen et al., TPAMI 2018) with the two dilations of AdaptSegNet and later work, on ResNet-50, stride 8.
_base_ = ['./deeplabv2red_r101-d8.py']

model = dict(backbone=dict(depth=50, init_cfg=dict(checkpoint='open-mmlab://resnet50_v1c')))
