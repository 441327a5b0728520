# DiDA on DACS: the rows of the paper's ablation, and degraded passes on parts of the images.
_base_ = ['./short.py']

dida, start = 'model.objectives.2', 'source only'
rows = [
    dict(name=start, config='configs/street/source_only_street.py', options=_base_.source_only),
    dict(name='DACS', config='configs/street/dacs_street.py', begin_with=start),
    *(dict(name=name, config='configs/street/dida-dacs_street.py', begin_with=start,
           options={f'{dida}.{key}': value for key, value in keys.items()})
      for name, keys in {
          'degraded images alone': dict(shift_encoder=None, reconstruction=None),
          'shared encoder': dict(shift_encoder='shared', reconstruction=None),
          'shared encoder, shared head': dict(shift_encoder='shared', reconstruction='shared_head'),
          'shared encoder, own head': dict(shift_encoder='shared'),
          'DACS + DiDA': {},  # separate encoder, own head
          'DACS + DiDA, noise of single pixels': dict(degradation=dict(type='NoiseDegradation', noise_stride=1)),
          'DACS + DiDA, noise of single pixels, on parts of 0.375': dict(
              degradation=dict(type='NoiseDegradation', noise_stride=1), crop=0.375),
          'DACS + DiDA on halves': dict(crop=0.5),
          'DACS + DiDA, weights of transformers': dict(weights='paper'),
      }.items()),
]
