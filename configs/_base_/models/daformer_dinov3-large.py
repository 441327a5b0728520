# DAFormer's head on DINOv3 ViT-L/16, see daformer_dinov3-base.py.
_base_ = ['./daformer_dinov3-base.py']

model = dict(
    backbone=dict(
        model=dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16),
        weights='facebook/dinov3-vitl16-pretrain-lvd1689m'),
    neck=dict(in_channels=1024))
