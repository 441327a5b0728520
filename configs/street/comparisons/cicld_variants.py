# Forms of CICLD's head that the paper does not have, in one stage: what is diffused, and what trains the denoiser.
_base_ = ['./cicld_connection.py']

head, stage1 = 'model.segmentor.decode_head', 'configs/street/cicld-stage1_street.py'
rows = [
    dict(name='label map is diffused', config=stage1, options={
        f'{head}.diffused': 'label', f'{head}.scheduler.prediction_type': 'v_prediction',
        f'{head}.inference.start': None}),
    dict(name='denoiser learns the task too', config=stage1, options={f'{head}.training.denoiser_learns_task': True}),
    dict(name='one step without noise, by the task alone', config=stage1, options={
        f'{head}.training': dict(timesteps='start', noise='zero', denoiser_learns_task=True, noise_loss_weight=0.0),
        f'{head}.inference.noise': 'zero'}),
]
