# The quick start's backbone with DAFormer's head.
_base_ = ['./base.py']
norm_cfg = dict(type='BN', requires_grad=True)

model = dict(decode_head=dict(
    _delete_=True,
    type='DAFormerHead',
    in_channels=[32, 64, 128, 256],
    in_index=[0, 1, 2, 3],
    channels=64,
    num_classes=19,
    dropout_ratio=0.0,
    norm_cfg=norm_cfg,
    decoder_params=dict(
        embed_dims=64,
        embed_cfg=dict(type='mlp'),
        fusion_cfg=dict(
            type='aspp', sep=True, dilations=(1, 6, 12, 18), pool=False, norm_cfg=norm_cfg,
            act_cfg=dict(type='ReLU'))),
    loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)))
