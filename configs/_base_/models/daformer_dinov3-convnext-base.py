# DAFormer's head on DINOv3 ConvNeXt-B, see daformer_dinov3-convnext-tiny.py.
_base_ = ['./daformer_dinov3-convnext-tiny.py']

model = dict(
    backbone=dict(
        model=dict(hidden_sizes=[128, 256, 512, 1024], depths=[3, 3, 27, 3]),
        weights='facebook/dinov3-convnext-base-pretrain-lvd1689m'),
    decode_head=dict(in_channels=[128, 256, 512, 1024]))
