# Fine-tuning of the guide between two rounds of sgg_progressive.py, which sets data, first weights and length.
_base_ = ['./source_only_street.py']

iterations = 100
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=10),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=10, end=iterations)
]
train_cfg = dict(max_iters=iterations, val_interval=iterations)
