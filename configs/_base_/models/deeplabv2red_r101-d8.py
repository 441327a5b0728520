# DeepLabV2 (Chen et al., TPAMI 2018) with the two dilations of AdaptSegNet and later work, on ResNet-101, stride 8.
_base_ = ['./deeplabv2_r101-d8.py']

model = dict(decode_head=dict(dilations=(6, 12)))
