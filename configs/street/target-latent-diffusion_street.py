# A diffusion model of the street set's target images in the latent space of the autoencoder that
# target-autoencoder_street.py has trained: at 32 x 64 places for an image of 128 x 256.
_base_ = ['./target-diffusion_street.py']

crop_size = (128, 256)  # whole images
model = dict(
    image_size=crop_size,
    autoencoder='work_dirs/target-autoencoder_street/autoencoder',
    scheduler=dict(clip_sample=False),
    unet=dict(
        _delete_=True,
        block_out_channels=(32, 64, 64, 64),
        down_block_types=('DownBlock2D', ) * 4,
        up_block_types=('UpBlock2D', ) * 4,
        layers_per_block=1,
        norm_num_groups=8))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        target=dict(pipeline=[
            dict(type='LoadImageStrictly'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs')
        ])))
