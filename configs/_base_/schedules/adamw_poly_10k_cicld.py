# Fine-tuning of a trained CICLD: a quarter of the iterations, a tenth of every rate.
_base_ = ['./adamw_poly_40k_cicld.py']

optim_wrapper = dict(optimizer=dict(lr=6e-6))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=501),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=10001)
]
train_cfg = dict(max_iters=10000, val_interval=2000)
