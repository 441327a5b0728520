# DINOv3 ConvNeXt-T (Simeoni et al., 2025): levels of stride 4, 8, 16 and 32 of its own.
# The weights are gated under the DINOv3 License: accept it at the hub page of the name below, then `hf auth login`.
_base_ = ['./segmentor.py']

model = dict(
    backbone=dict(
        type='TransformersBackbone',
        model=dict(model_type='dinov3_convnext', hidden_sizes=[96, 192, 384, 768], depths=[3, 3, 9, 3]),
        weights='facebook/dinov3-convnext-tiny-pretrain-lvd1689m'),
    decode_head=dict(in_channels=[96, 192, 384, 768], in_index=[0, 1, 2, 3]))
