# DiDA on DACS and DAFormer, with noise of single pixels: crops have 128 pixels here, so these are as coarse as the 4 in
# the crops of 512 of the benchmarks. In one --work-dir with methods.py the rows without DiDA are trained once.
_base_ = ['./methods.py']

fine = dict(type='NoiseDegradation', noise_stride=1)
rows = [
    *(row for row in _base_.rows if row['name'] in ('source only', 'DACS', 'DAFormer')),
    *(dict(name=f'{host} + DiDA', config=f'configs/street/{config}_street.py', begin_with='source only',
           options={'model.objectives.2.degradation': fine})
      for host, config in (('DACS', 'dida-dacs'), ('DAFormer', 'dida-daformer'))),
]
