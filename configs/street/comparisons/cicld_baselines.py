# What CICLD has to beat: DAFormer's network with about as many parameters, and with as much time as both of CICLD's
# stages take.
_base_ = ['./short.py']

longer = dict.fromkeys(('param_scheduler.1.end', 'train_cfg.max_iters', 'train_cfg.val_interval'), 300)
network, start = 'configs/street/daformer-head_street.py', "source only, DAFormer's head"
rows = [
    dict(name=start, config=network, options=_base_.source_only),
    dict(name="DAFormer's head", config=network, begin_with=start, options=_base_.rare_classes),
    dict(name="DAFormer's head, equal time", config=network, begin_with=start,
         options={**_base_.rare_classes, **longer}),
]
