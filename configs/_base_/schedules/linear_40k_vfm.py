# The schedule of VFM-UDA++: a linear warm-up from a thousandth of the rate over 1500 iterations, then the straight line
# from the full rate at iteration 0 to nothing at 40 000. So the rate falls to 0.9625 of itself behind the warm-up.
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=1500),
    dict(type='MultiStepLR', milestones=[1500], gamma=1 - 1500 / 40000, by_epoch=False),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=1500, end=40001)
]
train_cfg = dict(type='ExactResumeTrainLoop', max_iters=40000, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
