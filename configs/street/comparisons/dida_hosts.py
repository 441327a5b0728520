# DiDA on each method, with noise of single pixels: crops have 128 pixels here, so these are as coarse as the 4 in the
# crops of 512 of the benchmarks. In one --work-dir with methods.py the rows without DiDA are trained once.
_base_ = ['./methods.py']

fine = dict(type='NoiseDegradation', noise_stride=1)
rows = [
    *(row for row in _base_.rows
      if row['name'] not in ('MIC on DAFormer', "source only, CICLD's network", 'CICLD', 'labelled target images')),
    *(dict(name=f'{host} + DiDA', config=f'configs/street/{config}_street.py', begin_with=start,
           options={f'model.objectives.{place}.degradation': fine})
      for host, config, start, place in (
          ('DACS', 'dida-dacs', 'source only', 2), ('DAFormer', 'dida-daformer', 'source only', 2),
          ('HRDA', 'dida-hrda', 'source only, two scales', 2), ('MIC on HRDA', 'dida', 'source only, two scales', 3))),
]
