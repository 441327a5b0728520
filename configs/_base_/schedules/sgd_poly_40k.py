# Schedule of the adversarial and entropy baselines as published with HRDA and MIC: SGD, one rate for all.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='MergedOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.0025, momentum=0.9, weight_decay=5e-4))
# mmengine's schedules multiply and take end - begin - 1 steps. So these two give the published rate exactly: a poly
# decay over 40 000 iterations from the first one on, times a linear warm-up over the first 1500.
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1501),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=40001)
]
train_cfg = dict(type='ExactResumeTrainLoop', max_iters=40000, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
