# What a denoiser in CICLD's network is worth, against the same network without: forms that denoise something else than
# Gaussian noise, label diffusion, and DAFormer's head of about as many parameters. configs/cicld/README.md says, before it
# is measured, by what rule a form is chosen. All begin with the network without a denoiser, but label diffusion, whose
# decoder has seen nothing but latents of labels, and those with group norm.
_base_ = ['./short.py']

street, head = 'configs/street/cicld-', 'model.segmentor.decode_head'
seeds = [0, 1, 2, 3, 4, 5, 6]
reference = 'bypass'
# What isolates A's denoiser from its degraded images, and what B hides from the denoiser that fills it.
plain_objectives = [dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining', threshold=0.968)]
transformer = dict(type='MaskedRepresentationModeling', cell=8, width=128, heads=4)
grouping = dict(_delete_=True, type='GN', num_groups=8)
group_norm = {f'{head}.norm_cfg': grouping, 'model.segmentor.neck.norm_cfg': grouping}
# Iterations of the network without a denoiser in the time of the slowest form.
as_long = dict.fromkeys(('param_scheduler.1.end', 'train_cfg.max_iters', 'train_cfg.val_interval'), 470)
start, spread, grouped = 'source only', 'source only, label map is diffused', 'source only, group norm'
fast = _base_.fast
adapt = {**fast, **_base_.rare_classes}
daformer, plain = 'configs/street/daformer-head_street.py', "source only, DAFormer's head"
wide = {f'{head}.channels': 64, f'{head}.decoder_params.embed_dims': 64}  # 3.2 million parameters, as A has
rows = [
    dict(name=start, config=f'{street}bypass_street.py', options={**fast, **_base_.source_only}),
    *(dict(name=name, config=f'{street}{config}_street.py', begin_with=start, options={**adapt, **changes})
      for name, config, changes in (
          ('bypass', 'bypass', {}),
          ('bypass, as long as A', 'bypass', as_long),
          ('A: shift as noise', 'restoration', {}),
          ("A's network, nothing degraded", 'restoration', {'model.objectives': plain_objectives}),
          ('B: masked latents', 'masked', {}),
          ('bypass with MRM', 'bypass', {'model.objectives': [*plain_objectives, transformer]}),
          ('C: second task', 'reconstruction', {}))),
    *(dict(name=f'{name[0]}, dropped in tests', config=f'{street}{config}_street.py', evaluates=name,
           options={**adapt, f'{head}.inference.steps': 0})
      for name, config in (('A: shift as noise', 'restoration'), ('C: second task', 'reconstruction'))),
    dict(name=spread, config=f'{street}spread-codes_street.py', options={**fast, **_base_.source_only}),
    dict(name='D: label map, spread codes', config=f'{street}spread-codes_street.py', begin_with=spread, options=adapt),
    dict(name=plain, config=daformer, options={**fast, **_base_.source_only, **wide}),
    dict(name="DAFormer's head, equal parameters", config=daformer, begin_with=plain, options={**adapt, **wide}),
    dict(name=grouped, config=f'{street}bypass_street.py', options={**fast, **_base_.source_only, **group_norm}),
    *(dict(name=f'{name}, group norm', config=f'{street}{config}_street.py', begin_with=grouped,
           options={**adapt, **group_norm})
      for name, config in (('bypass', 'bypass'), ('A', 'restoration'), ('B', 'masked'), ('C', 'reconstruction'))),
]
