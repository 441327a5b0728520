# The network of VFM-UDA++ on DINOv2 ViT-S/14, see vit-adapter_dinov2-base.py.
_base_ = ['./vit-adapter_dinov2-base.py']

model = dict(
    backbone=dict(
        vit=dict(
            model=dict(hidden_size=384, num_hidden_layers=12, num_attention_heads=6),
            weights='facebook/dinov2-small')),
    decode_head=dict(in_channels=[384, 384, 384, 384]))
