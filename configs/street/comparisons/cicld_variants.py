# Forms of CICLD's head that the paper does not have, in one stage: what is diffused, and what trains the denoiser.
_base_ = ['./cicld_connection.py']

head, stage1 = 'model.segmentor.decode_head', 'configs/street/cicld-stage1_street.py'
rows = [
    dict(name=f'{name}{phase}', config=stage1, options={**options, **form},
         begin_with=None if phase else f'{name}, source only')
    for name, form in {
        'label map is diffused': {
            f'{head}.diffused': 'label', f'{head}.scheduler.prediction_type': 'v_prediction',
            f'{head}.inference.start': None},
        'denoiser learns the task too': {f'{head}.training.denoiser_learns_task': True},
        'one step without noise, by the task alone': {
            f'{head}.training': dict(timesteps='start', noise='zero', denoiser_learns_task=True, noise_loss_weight=0.0),
            f'{head}.inference.noise': 'zero'},
    }.items()
    for phase, options in ((', source only', _base_.source_only), ('', _base_.rare_classes))
]
