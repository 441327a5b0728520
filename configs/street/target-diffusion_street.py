# A diffusion model of the street set's target images, in pixel space: SGG translates the source images with it. It
# learns from crops, which take a quarter of the work, and denoises whole images of 128 x 256.
_base_ = ['../_base_/target_diffusion.py']

crop_size = (64, 128)
model = dict(
    image_size=crop_size,
    # Velocity: the estimate of the clean image that guidance looks at is good at every noise level.
    scheduler=dict(prediction_type='v_prediction', clip_sample=True),
    unet=dict(
        block_out_channels=(32, 32, 64, 128, 128),  # the attention is in the middle block, at 8 x 16 places of an image
        down_block_types=('DownBlock2D', ) * 5,
        up_block_types=('UpBlock2D', ) * 5,
        layers_per_block=1,
        norm_num_groups=4),
    momentum=0.995)

target_train = dict(
    type='CityscapesDataset',
    data_root='data/street/target',
    data_prefix=dict(img_path='leftImg8bit/train'),
    pipeline=[
        dict(type='LoadImageStrictly'),
        dict(type='RandomCrop', crop_size=crop_size),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackSegInputs')
    ])
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(target=target_train))

iterations = 5000
# bfloat16 halves the time on processors with units for it; on others it takes several times as long.
optim_wrapper = dict(type='AutocastOptimWrapper', dtype='auto', optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=50, end=iterations)
]
train_cfg = dict(max_iters=iterations)
default_hooks = dict(checkpoint=dict(interval=500), logger=dict(interval=20))
custom_hooks = [
    dict(type='SampleGridHook', interval=1000, samples=4, columns=2, steps=20, size=(128, 256)),
    dict(type='SaveFolderHook', folder='diffusion')
]
