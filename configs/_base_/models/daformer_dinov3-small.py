# DAFormer's head on DINOv3 ViT-S/16, see daformer_dinov3-base.py.
_base_ = ['./daformer_dinov3-base.py']

model = dict(
    backbone=dict(
        model=dict(hidden_size=384, intermediate_size=1536, num_hidden_layers=12, num_attention_heads=6),
        weights='facebook/dinov3-vits16-pretrain-lvd1689m'),
    neck=dict(in_channels=384))
