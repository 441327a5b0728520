# Fine-tuning for one step from no noise, as much further training of the network without a denoiser, and both networks
# that have one with it left out of the tests.
_base_ = ['./cicld_connection.py']

first, bypass = 'connected, image latent', 'connected, no denoiser'
further = {**_base_.rare_classes, 'param_scheduler.1.end': 100, 'train_cfg.max_iters': 100, 'train_cfg.val_interval': 100}
no_denoiser = {'model.segmentor.decode_head.denoiser': None}
rows = [
    *(row for row in _base_.rows if row['name'].startswith((first, bypass))),
    dict(name='one step', config='configs/street/cicld-one-step_street.py', begin_with=first, options=further),
    *(dict(name=f'{name}, denoiser dropped in tests', config=f'configs/street/cicld-{config}_street.py', evaluates=name,
           options={**options, 'model.segmentor.decode_head.inference.steps': 0})
      for name, config, options in (('one step', 'one-step', further), (first, 'stage1', _base_.rare_classes))),
    dict(name='no denoiser, as long', config='configs/street/cicld-stage1_street.py', begin_with=bypass,
         options={**further, **no_denoiser, 'optim_wrapper.optimizer.lr': 1e-4},
         hand_over={'teacher.network.': 'student.'}),
]
