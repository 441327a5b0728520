# DiDA on each method.
_base_ = ['./short.py']

start, street = _base_.from_quick_start, 'configs/street/'
cicld = 'connected, image latent, source only'  # as in cicld_connection.py: in one --work-dir it is trained once
rows = [
    dict(name='DACS', config=f'{street}dacs_street.py', options=start),
    dict(name='DACS + DiDA', config=f'{street}dida-dacs_street.py', options=start),
    *(dict(name=f'source only, {network}', config=f'{street}{network.lower()}_street.py', options=_base_.source_only)
      for network in ('DAFormer', 'HRDA')),
    dict(name=cicld, config=f'{street}cicld-stage1_street.py', options={**_base_.bfloat16, **_base_.source_only}),
    *(dict(name=f'{host}{name}', config=f'{street}{config}_street.py', begin_with=begin_with, options=options)
      for host, begin_with, plain, bridged, options in (
          ('DAFormer', 'source only, DAFormer', 'daformer', 'dida-daformer', {}),
          ('HRDA', 'source only, HRDA', 'hrda', 'dida-hrda', {}),
          ('MIC', 'source only, HRDA', 'mic', 'dida', {}),
          ('CICLD', cicld, 'cicld', 'dida-cicld', {**_base_.bfloat16, **_base_.rare_classes}))
      for name, config in (('', plain), (' + DiDA', bridged))),
]
