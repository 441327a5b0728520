# The network of VFM-UDA++ on DINOv3 ViT-B/16, see vit-adapter_dinov3-large.py.
_base_ = ['./vit-adapter_dinov3-large.py']

model = dict(
    backbone=dict(
        vit=dict(
            model=dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12),
            weights='facebook/dinov3-vitb16-pretrain-lvd1689m')),
    decode_head=dict(in_channels=[768, 768, 768, 768]))
