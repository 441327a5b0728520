# DiDA on DACS with five times the iterations of the other comparisons.
_base_ = ['./short.py']

start = 'source only'
long = {'param_scheduler.1.end': 1000, 'train_cfg.max_iters': 1000, 'train_cfg.val_interval': 1000}
rows = [
    dict(name=start, config='configs/street/source_only_street.py', options=_base_.source_only),
    dict(name='DACS, 1000 iterations', config='configs/street/dacs_street.py', begin_with=start, options=long),
    dict(name='DACS + DiDA, noise of single pixels, 1000 iterations', config='configs/street/dida-dacs_street.py',
         begin_with=start,
         options={**long, 'model.objectives.2.degradation': dict(type='NoiseDegradation', noise_stride=1)}),
]
