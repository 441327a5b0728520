# DAFormer's head (Hoyer et al., CVPR 2022), context-aware fusion by a depthwise separable ASPP, on DINOv2 ViT-B/14.
_base_ = ['./parts/dinov2-base.py']

model = dict(
    decode_head=dict(
        type='DAFormerHead',
        channels=256,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg={{_base_.norm_cfg}},
        decoder_params=dict(
            embed_dims=256,
            embed_cfg=dict(type='mlp'),
            fusion_cfg=dict(
                type='aspp',
                sep=True,
                dilations=(1, 6, 12, 18),
                pool=False,
                norm_cfg={{_base_.norm_cfg}},
                act_cfg=dict(type='ReLU'))),
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)))
