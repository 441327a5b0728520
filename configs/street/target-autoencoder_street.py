# An autoencoder of the street set's target images (stride 4), in whose latent space target-latent-diffusion_street.py
# works. No labels, no source images. At the end it lies in WORK_DIR/autoencoder.
_base_ = ['../_base_/default_runtime.py']

crop_size = (64, 128)
model = dict(
    type='AutoencoderPretraining',
    autoencoder=dict(
        block_out_channels=(16, 32, 64),
        down_block_types=('DownEncoderBlock2D', ) * 3,
        up_block_types=('UpDecoderBlock2D', ) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False),
    data_preprocessor=dict(
        type='SegDataPreProcessor', bgr_to_rgb=True, size=crop_size, mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5]))

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
train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='KeyedInfiniteSampler'),
    dataset=dict(type='UnlabelledDataset', target=target_train))

iterations = 2000
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=50, end=iterations)
]
train_cfg = dict(type='ExactResumeTrainLoop', max_iters=iterations)
val_cfg = None
test_cfg = None
default_hooks = dict(checkpoint=dict(interval=500, max_keep_ckpts=1), logger=dict(interval=20))
custom_hooks = [dict(type='SaveAutoencoderHook', folder='autoencoder')]
