# Fine-tuning for one step from no noise, and as much further training of the network without a denoiser.
_base_ = ['./cicld_connection.py']

first, bypass = 'connected, image latent', 'connected, no denoiser'
further = {**_base_.rare_classes, 'param_scheduler.1.end': 100, 'train_cfg.max_iters': 100, 'train_cfg.val_interval': 100}
no_denoiser = {'model.segmentor.decode_head.denoiser': None}
rows = [
    *(row for row in _base_.rows if row['name'].startswith((first, bypass))),
    dict(name='one step', config='configs/street/cicld-one-step_street.py', begin_with=first, options=further),
    dict(name='no denoiser, as long', config='configs/street/cicld-stage1_street.py', begin_with=bypass,
         options={**further, **no_denoiser, 'optim_wrapper.optimizer.lr': 1e-4},
         hand_over={'teacher.network.': 'student.'}),
]
