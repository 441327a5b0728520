# Fine-tuning for one step from no noise, and as much further training of the network without a denoiser.
_base_ = ['./cicld_connection.py']

first, bypass = 'connected, image latent', 'connected, no denoiser'
stage1 = 'configs/street/cicld-stage1_street.py'
further = {'param_scheduler.1.end': 200, 'train_cfg.max_iters': 200, 'train_cfg.val_interval': 200}
no_denoiser = {'model.segmentor.decode_head.denoiser': None}
rows = [
    dict(name=first, config=stage1),
    dict(name='one step', config='configs/street/cicld-one-step_street.py', begin_with=first, options=further),
    dict(name=bypass, config=stage1, options=no_denoiser),
    dict(name='no denoiser, as long', config=stage1, begin_with=bypass,
         options={**further, **no_denoiser, 'optim_wrapper.optimizer.lr': 1e-4},
         hand_over={'teacher.network.': 'student.'}),
]
