# The network of VFM-UDA++ on DINOv2 ViT-L/14, see vit-adapter_dinov2-base.py.
_base_ = ['./vit-adapter_dinov2-base.py']

model = dict(
    backbone=dict(
        vit=dict(
            model=dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16),
            weights='facebook/dinov2-large')),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024]))
