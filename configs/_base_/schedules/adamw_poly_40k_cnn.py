# DAFormer's schedule for CNNs: AdamW, ten times the rate in the head, weight decay everywhere.
_base_ = ['./poly_40k.py']

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='MergedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=10.0)}))
