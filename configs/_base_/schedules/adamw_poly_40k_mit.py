# DAFormer's schedule for MiT: AdamW, ten times the rate in the head, no weight decay of the encoder's norm layers. The
# head's norm layers keep weight decay: 'head' is a custom key, and those overrule norm_decay_mult.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='MergedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys={'head': dict(lr_mult=10.0)}))
# mmengine's schedules multiply and take end - begin - 1 steps. So these two give the published rate exactly: a poly
# decay over 40 000 iterations from the first one on, times a linear warm-up over the first 1500.
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1501),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=40001)
]
train_cfg = dict(type='ExactResumeTrainLoop', max_iters=40000, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
