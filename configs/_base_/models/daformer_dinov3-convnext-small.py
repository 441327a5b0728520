# DAFormer's head on DINOv3 ConvNeXt-S, see daformer_dinov3-convnext-tiny.py.
_base_ = ['./daformer_dinov3-convnext-tiny.py']

model = dict(
    backbone=dict(
        model=dict(hidden_sizes=[96, 192, 384, 768], depths=[3, 3, 27, 3]),
        weights='facebook/dinov3-convnext-small-pretrain-lvd1689m'),
    decode_head=dict(in_channels=[96, 192, 384, 768]))
