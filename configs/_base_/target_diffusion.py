# What the trainings of target diffusion models share: unlabelled images of the target, AdamW, samples to look at on
# the way, and the averaged weights in WORK_DIR/diffusion at the end. A config adds target, model.image_size and UNet.
_base_ = ['./default_runtime.py']

iterations = 200000
model = dict(
    type='TargetDiffusion',
    scheduler=dict(type='DDIMScheduler', num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02),
    momentum=0.9999)

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='KeyedInfiniteSampler'),
    dataset=dict(type='UnlabelledDataset'))
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.0), clip_grad=dict(max_norm=1.0))
param_scheduler = [dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000)]
train_cfg = dict(type='ExactResumeTrainLoop', max_iters=iterations)
val_cfg = None
test_cfg = None
default_hooks = dict(checkpoint=dict(interval=5000, max_keep_ckpts=1))
custom_hooks = [
    dict(type='SampleGridHook', interval=5000, samples=8, columns=4, steps=50),
    dict(type='SaveFolderHook', folder='diffusion')
]
