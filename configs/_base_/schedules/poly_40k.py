# 40 000 iterations with a linear warm-up and a linear decay; a schedule adds its optimiser.
# mmengine's schedules multiply and take end - begin - 1 steps. So these two give the published rate exactly: a poly
# decay over 40 000 iterations from the first one on, times a linear warm-up over the first 1500.
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1501),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=40001)
]
train_cfg = dict(type='ExactResumeTrainLoop', max_iters=40000, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
