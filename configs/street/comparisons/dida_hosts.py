# DiDA on each method, with noise of single pixels: crops have 128 pixels here, so these are as coarse as the 4 in the
# crops of 512 of the benchmarks.
_base_ = ['./short.py']

start, street = _base_.from_quick_start, 'configs/street/'
fine = dict(type='NoiseDegradation', noise_stride=1)
cicld = 'connected, image latent, source only'  # as in cicld_connection.py: in one --work-dir it is trained once
rows = [
    *(dict(name=f'source only, {network}', config=f'{street}{network.lower()}_street.py', options=_base_.source_only)
      for network in ('DAFormer', 'HRDA')),
    dict(name=cicld, config=f'{street}cicld-stage1_street.py', options={**_base_.bfloat16, **_base_.source_only}),
    *(dict(name=f'{host}{name}', config=f'{street}{config}_street.py', begin_with=begin_with,
           options={**options, **bridge})
      for host, begin_with, plain, bridged, dida, options in (
          ('DACS', None, 'dacs', 'dida-dacs', 2, start),
          ('DAFormer', 'source only, DAFormer', 'daformer', 'dida-daformer', 2, {}),
          ('CICLD', cicld, 'cicld', 'dida-cicld', 3, {**_base_.bfloat16, **_base_.rare_classes}),
          ('HRDA', 'source only, HRDA', 'hrda', 'dida-hrda', 2, {}),
          ('MIC', 'source only, HRDA', 'mic', 'dida', 3, {}))
      for name, config, bridge in (
          ('', plain, {}),
          (' + DiDA, noise of single pixels', bridged, {f'model.objectives.{dida}.degradation': fine}))),
]
