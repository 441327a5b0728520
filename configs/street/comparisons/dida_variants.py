# DiDA on DACS: the rows of the paper's ablation, and degraded passes on parts of the images.
_base_ = ['./short.py']

dida = 'model.objectives.2'
plain, bridged = 'configs/street/dacs_street.py', 'configs/street/dida-dacs_street.py'
rows = [
    dict(name='DACS', config=plain),
    *(dict(name=name, config=bridged, options={f'{dida}.{key}': value for key, value in keys.items()})
      for name, keys in {
          'degraded images alone': dict(shift_encoder=None, reconstruction=None),
          'shared encoder': dict(shift_encoder='shared', reconstruction=None),
          'shared encoder, shared head': dict(shift_encoder='shared', reconstruction='shared_head'),
          'shared encoder, own head': dict(shift_encoder='shared'),
          'separate encoder, own head': {},
          'the same on halves': dict(crop=0.5),
      }.items()),
]
