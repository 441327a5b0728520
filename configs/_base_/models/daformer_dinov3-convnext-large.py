# DAFormer's head on DINOv3 ConvNeXt-L, see daformer_dinov3-convnext-tiny.py.
_base_ = ['./daformer_dinov3-convnext-tiny.py']

model = dict(
    backbone=dict(
        model=dict(hidden_sizes=[192, 384, 768, 1536], depths=[3, 3, 27, 3]),
        weights='facebook/dinov3-convnext-large-pretrain-lvd1689m'),
    decode_head=dict(in_channels=[192, 384, 768, 1536]))
