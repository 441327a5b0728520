# What CICLD has to beat: DAFormer with as many parameters, and with as much time as both of CICLD's stages take.
_base_ = ['./short.py']

daformer = 'configs/street/daformer_street.py'
evaluated = {'model.evaluate': 'teacher'}  # as CICLD is
head = 'model.segmentor.decode_head'
rows = [
    dict(name='DAFormer, equal parameters', config=daformer,
         options={**evaluated, f'{head}.channels': 128, f'{head}.decoder_params.embed_dims': 128}),
    dict(name='DAFormer, equal time', config=daformer,
         options={**evaluated, 'param_scheduler.1.end': 450, 'train_cfg.max_iters': 450,
                  'train_cfg.val_interval': 450}),
]
