# The network of VFM-UDA++ (Englert et al., 2025): ViT adapter on DINOv2 ViT-B/14, light decoder.
# Crops of 1024 are seen at 1120, a multiple of 14 and 32; the logits have the size of the crops.
_base_ = ['./parts/segmentor.py']

norm_cfg = dict(type='BN', momentum=0.01, requires_grad=True)
model = dict(
    backbone=dict(
        type='ViTAdapterBackbone',
        vit=dict(
            model=dict(
                model_type='dinov2',
                hidden_size=768,
                num_hidden_layers=12,
                num_attention_heads=12,
                patch_size=14,
                image_size=518),
            weights='facebook/dinov2-base',
            scale=1120 / 1024),
        norm_cfg=norm_cfg),
    decode_head=dict(
        type='UpscaleHead',
        in_channels=[768, 768, 768, 768],
        in_index=[0, 1, 2, 3],
        num_classes=19,
        norm_cfg=norm_cfg,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)))
