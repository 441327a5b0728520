# DAFormer's schedule for MiT: AdamW, ten times the rate in the head, no weight decay of the encoder's norm layers. The
# head's norm layers keep weight decay: 'head' is a custom key, and those overrule norm_decay_mult.
_base_ = ['./poly_40k.py']

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='MergedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys={'head': dict(lr_mult=10.0)}))
