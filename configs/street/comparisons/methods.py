# The methods on one network, EfficientNet-Lite0 with SegFormer's head, HRDA's two scales of it, and CICLD's network around
# the same encoder. The quick start's images: day to another look of the same streets.
_base_ = ['./short.py']

both_stages = {'param_scheduler.1.end': 500, 'train_cfg.max_iters': 500, 'train_cfg.val_interval': 500}
street, one_scale, two_scales = 'configs/street/', 'source only', 'source only, two scales'
cicld, connected = f'{street}cicld_street.py', "source only, CICLD's network"
rows = [
    dict(name=one_scale, config=f'{street}source_only_street.py', options=_base_.source_only),
    *(dict(name=name, config=f'{street}{config}_street.py', begin_with=one_scale) for name, config in (
        ('DACS', 'dacs'), ('DAFormer', 'daformer'), ('MIC on DAFormer', 'mic-daformer'))),
    dict(name=two_scales, config=f'{street}hrda_street.py', options=_base_.source_only),
    *(dict(name=name, config=f'{street}{config}_street.py', begin_with=two_scales) for name, config in (
        ('HRDA', 'hrda'), ('MIC on HRDA', 'mic'))),
    dict(name=connected, config=cicld, options={**_base_.source_only, **_base_.fast}),
    dict(name='CICLD', config=cicld, begin_with=connected, options=_base_.fast),
    dict(name='labelled target images', config=f'{street}oracle_street.py', options=both_stages),
]
