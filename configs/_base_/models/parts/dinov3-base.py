# DINOv3 ViT-B/16 with 4 registers (Simeoni et al., 2025), and a pyramid of its last block for any head.
# The weights are gated under the DINOv3 License: accept it at the hub page of the name below, then `hf auth login`.
_base_ = ['./segmentor.py']

model = dict(
    backbone=dict(
        type='TransformersBackbone',
        model=dict(
            model_type='dinov3_vit',
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            num_register_tokens=4),
        weights='facebook/dinov3-vitb16-pretrain-lvd1689m'),
    neck=dict(type='SimpleFeaturePyramid', in_channels=768, out_channels=256),
    decode_head=dict(in_channels=[256, 256, 256, 256], in_index=[0, 1, 2, 3]))
