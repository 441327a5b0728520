# The network of VFM-UDA++ with DINOv3-S: ViT adapter and light decoder, patches of 16 on crops of 1024. Its weights are
# gated, under the DINOv3 License: accept it on the page of the model, then run `hf auth login`.
_base_ = ['./parts/segmentor.py']

model = dict(
    data_preprocessor=dict(size=(1024, 1024)),
    backbone=dict(
        type='ViTAdapterBackbone',
        vit=dict(
            model=dict(model_type='dinov3_vit', hidden_size=384, num_hidden_layers=12, num_attention_heads=6,
                       intermediate_size=1536, num_register_tokens=4, patch_size=16),
            weights='facebook/dinov3-vits16-pretrain-lvd1689m')),
    decode_head=dict(
        type='UpscaleHead',
        in_channels=[384, 384, 384, 384],
        in_index=[0, 1, 2, 3],
        num_classes=19,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    test_cfg=dict(mode='slide', crop_size=(1024, 1024), stride=(512, 512)))
