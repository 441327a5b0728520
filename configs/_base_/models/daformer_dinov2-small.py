# DAFormer's head on DINOv2 ViT-S/14, see daformer_dinov2-base.py.
_base_ = ['./daformer_dinov2-base.py']

model = dict(
    backbone=dict(
        model=dict(hidden_size=384, num_hidden_layers=12, num_attention_heads=6),
        weights='facebook/dinov2-small'),
    neck=dict(in_channels=384))
