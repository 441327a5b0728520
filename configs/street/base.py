# What the methods share but the network: the data, and a budget of minutes on a CPU.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/street.py']

iterations = 300
channels_last = True
# What starts from random weights learns five times as fast as the encoder, as in tools/adapt.py.
faster = dict(lr_mult=5.0)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='MergedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(head=faster, neck=faster)))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=30),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=30, end=iterations)
]
train_dataloader = dict(batch_size=4)
val_dataloader = dict(batch_size=10)
test_dataloader = dict(batch_size=10)
train_cfg = dict(type='ExactResumeTrainLoop', max_iters=iterations, val_interval=iterations)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(checkpoint=dict(interval=100, max_keep_ckpts=1), logger=dict(interval=20))

# Pixels of a class that make an image of 256 x 128 count for it, in place of 3000 of 1914 x 1052.
rare_classes = dict(min_pixels=40, class_temp=0.1, min_crop_ratio=0.5)
