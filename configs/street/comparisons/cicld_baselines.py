# What CICLD has to beat: DAFormer with as many parameters, and with as much time as both of CICLD's stages take.
_base_ = ['./short.py']

daformer = 'configs/street/daformer_street.py'
evaluated = {'model.evaluate': 'teacher'}  # as CICLD is
head = 'model.segmentor.decode_head'
wide = {f'{head}.channels': 128, f'{head}.decoder_params.embed_dims': 128}
longer = dict.fromkeys(('param_scheduler.1.end', 'train_cfg.max_iters', 'train_cfg.val_interval'), 300)
rows = [
    dict(name='source only, DAFormer of equal parameters', config=daformer, options={**_base_.source_only, **wide}),
    dict(name='DAFormer, equal parameters', config=daformer, begin_with='source only, DAFormer of equal parameters',
         options={**evaluated, **wide}),
    dict(name='source only, DAFormer', config=daformer, options=_base_.source_only),
    dict(name='DAFormer, equal time', config=daformer, begin_with='source only, DAFormer',
         options={**evaluated, **longer}),
]
