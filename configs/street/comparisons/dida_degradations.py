# DiDA on DACS with the shared encoder: what degrades the images, by how many levels, and how fast.
_base_ = ['./short.py']

dida = 'model.objectives.2'
shared, start = {f'{dida}.shift_encoder': 'shared'}, 'source only'
noise = dict(type='NoiseDegradation', noise_stride=4)
blur, blocks = dict(type='BlurDegradation'), dict(type='MaskDegradation', shape='block')
rows = [
    dict(name=start, config='configs/street/source_only_street.py', options=_base_.source_only),
    dict(name='shared encoder, own head', config='configs/street/dida-dacs_street.py', begin_with=start,
         options=shared),  # noise
    *(dict(name=name, config='configs/street/dida-dacs_street.py', begin_with=start,
           options={**shared, f'{dida}.degradation': degradation})
      for name, degradation in {
          'noise of single pixels': dict(noise, noise_stride=1),
          'blur': blur,
          'masks of blocks': blocks,
          'masks of blobs': dict(type='MaskDegradation', shape='blob'),
          'noise, blur or blocks': dict(type='MixedDegradation', degradations=[noise, blur, blocks]),
          'noise, 10 levels': dict(noise, steps=10),
          'noise, 1000 levels': dict(noise, steps=1000),
          'noise, cosine': dict(noise, schedule='cosine'),
          'noise, linear': dict(noise, schedule='linear'),
      }.items()),
]
