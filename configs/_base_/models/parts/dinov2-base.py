# DINOv2 ViT-B/14 (Oquab et al., TMLR 2024; weights under Apache-2.0), and a pyramid of its last block for any head.
# Patches of 14 at 14/16 of the size are patches of 16, so levels have stride 4, 8, 16 and 32.
# With registers: model.segmentor.backbone.model.model_type=dinov2_with_registers
# model.segmentor.backbone.weights=facebook/dinov2-with-registers-base
_base_ = ['./segmentor.py']

model = dict(
    backbone=dict(
        type='TransformersBackbone',
        model=dict(
            model_type='dinov2',
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            patch_size=14,
            image_size=518),
        weights='facebook/dinov2-base',
        scale=14 / 16),
    neck=dict(type='SimpleFeaturePyramid', in_channels=768, out_channels=256),
    decode_head=dict(in_channels=[256, 256, 256, 256], in_index=[0, 1, 2, 3]))
