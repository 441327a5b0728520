# DAFormer's head on DINOv2 ViT-L/14, see daformer_dinov2-base.py.
_base_ = ['./daformer_dinov2-base.py']

model = dict(
    backbone=dict(
        model=dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16),
        weights='facebook/dinov2-large'),
    neck=dict(in_channels=1024))
