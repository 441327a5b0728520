# The network of VFM-UDA++ with DINOv2-B (weights: Apache-2.0): ViT adapter and light decoder. Crops of 1024 are
# enlarged to 1120, which is whole patches of 14. The architecture stands here, so that it takes no download.
_base_ = ['./parts/segmentor.py']

model = dict(
    data_preprocessor=dict(size=(1024, 1024)),
    backbone=dict(
        type='ViTAdapterBackbone',
        vit=dict(
            model=dict(model_type='dinov2', hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
                       image_size=518, patch_size=14),
            weights='facebook/dinov2-base',
            scale=1120 / 1024)),
    decode_head=dict(
        type='UpscaleHead',
        in_channels=[768, 768, 768, 768],
        in_index=[0, 1, 2, 3],
        num_classes=19,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    test_cfg=dict(mode='slide', crop_size=(1024, 1024), stride=(512, 512)))
