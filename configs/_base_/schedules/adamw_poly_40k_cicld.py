# DAFormer's schedule; what starts from random weights learns ten times as fast, but the denoiser at the paper's 6e-5.
_base_ = ['./poly_40k.py']

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='MergedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        custom_keys={'head': dict(lr_mult=10.0), 'neck': dict(lr_mult=10.0), 'denoiser': dict(lr_mult=1.0)}))
