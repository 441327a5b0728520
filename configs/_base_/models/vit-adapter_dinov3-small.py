# The network of VFM-UDA++ on DINOv3 ViT-S/16, see vit-adapter_dinov3-large.py.
_base_ = ['./vit-adapter_dinov3-large.py']

model = dict(
    backbone=dict(
        vit=dict(
            model=dict(hidden_size=384, intermediate_size=1536, num_hidden_layers=12, num_attention_heads=6),
            weights='facebook/dinov3-vits16-pretrain-lvd1689m')),
    decode_head=dict(in_channels=[384, 384, 384, 384]))
