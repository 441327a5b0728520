# CICLD, Table 2: what aligns the latents of the domains, each term by itself and all of them together. All rows are second
# stages that begin with the same first one.
_base_ = ['./cicld_connection.py']

stage2 = 'configs/street/cicld-stage2_street.py'
short = {'param_scheduler.1.end': 100, 'train_cfg.max_iters': 100, 'train_cfg.val_interval': 100}
align = 'model.objectives.0'
two, three = {f'{align}.domains': 2}, {f'{align}.domains': 3}
none = {f'{align}.domains': 2, f'{align}.weight': None}
contrast, mmd = {f'{align}.contrastive': dict(weight=1.0)}, {f'{align}.mmd': dict(weight=0.01)}
strong_mmd = {f'{align}.mmd': dict(weight=1.0)}
first = 'connected, image latent'
rows = [
    *(row for row in _base_.rows if row['name'].startswith(first)),
    *(dict(name=name, config=stage2, begin_with=first, options={**_base_.rare_classes, **short, **terms})
      for name, terms in {
          'noise loss alone': none,
          '2 domains': two,
          '3 domains': three,
          'contrast': {**none, **contrast},
          'MMD': {**none, **mmd},
          'MMD of weight 1': {**none, **strong_mmd},
          '3 domains, contrast, MMD': {**three, **contrast, **mmd},
      }.items()),
]
