# A small Vision Transformer in DINOv2's form: 6 blocks of 192 channels, patches of 8, 2.7 million parameters; a plain head
# on its last map. pip brings no weights of one: vit_distillation.py makes some.
_base_ = ['./base.py', '../_base_/models/parts/segmentor.py']

model = dict(
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0], size=(128, 128)),  # as its teacher's
    backbone=dict(
        type='TransformersBackbone',
        model=dict(
            model_type='dinov2',
            hidden_size=192,
            num_hidden_layers=6,
            num_attention_heads=3,
            patch_size=8,
            image_size=128),
        out_indices=[5]),
    decode_head=dict(
        type='FCNHead',
        in_channels=192,
        in_index=0,
        channels=128,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg={{_base_.norm_cfg}},
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)))
# A transformer that starts from other weights than those of ImageNet's classes wants smaller steps than a convolutional one.
optim_wrapper = dict(optimizer=dict(lr=3e-4))
