# What the four methods share: the small network of configs/quickstart, whose source-only weights the backbone starts from
# (they take the place of ImageNet weights), and a budget of 800 iterations.
_base_ = ['../quickstart/small_segmentor.py', '../_base_/datasets/street.py']

model = dict(backbone=dict(init_cfg=dict(
    type='Pretrained',
    checkpoint='work_dirs/source_only_street/iter_800.pth',
    prefix='student.backbone.')))

iterations = 800
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_dataloader = dict(batch_size=4)
val_dataloader = dict(batch_size=10)
test_dataloader = dict(batch_size=10)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=50, end=iterations)
]
train_cfg = dict(max_iters=iterations, val_interval=iterations)
