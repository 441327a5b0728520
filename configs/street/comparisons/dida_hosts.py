# DiDA on each method.
_base_ = ['./short.py']

start, street = _base_.from_quick_start, 'configs/street/'
rows = [
    dict(name='DACS', config=f'{street}dacs_street.py', options=start),
    dict(name='DACS + DiDA', config=f'{street}dida-dacs_street.py', options=start),
    *(dict(name=f'source only, {network}', config=f'{street}{network.lower()}_street.py', options=_base_.source_only)
      for network in ('DAFormer', 'HRDA', 'CICLD')),
    *(dict(name=f'{host}{name}', config=f'{street}{config}_street.py', begin_with=f'source only, {network}')
      for host, network, plain, bridged in (
          ('DAFormer', 'DAFormer', 'daformer', 'dida-daformer'),
          ('HRDA', 'HRDA', 'hrda', 'dida-hrda'),
          ('MIC', 'HRDA', 'mic', 'dida'),
          ('CICLD', 'CICLD', 'cicld', 'dida-cicld'))
      for name, config in (('', plain), (' + DiDA', bridged))),
]
