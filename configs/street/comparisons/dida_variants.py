# DiDA on DACS, the paper's ablation with noise of single pixels (see dida_hosts.py): degraded images alone, then the
# encoder that knows the level and the head that restores, with the student's encoder and with one of its own.
_base_ = ['./short.py']

start, fine = 'source only', {'degradation': dict(type='NoiseDegradation', noise_stride=1)}
rows = [
    dict(name=start, config='configs/street/source_only_street.py', options=_base_.source_only),
    dict(name='DACS', config='configs/street/dacs_street.py', begin_with=start),
    *(dict(name=name, config='configs/street/dida-dacs_street.py', begin_with=start,
           options={f'model.objectives.2.{key}': value for key, value in {**fine, **keys}.items()})
      for name, keys in {
          'degraded images alone': dict(shift_encoder=None, reconstruction=None),
          'shared encoder, own head': dict(shift_encoder='shared'),
          'DACS + DiDA': {},  # separate encoder, own head
      }.items()),
]
