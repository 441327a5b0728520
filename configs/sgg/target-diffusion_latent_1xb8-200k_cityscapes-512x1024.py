# A diffusion model of Cityscapes in the latent space of a public autoencoder (stride 8), whole images in half their
# size. Data: python tools/dataset_converters/cityscapes.py data/cityscapes
_base_ = ['../_base_/target_diffusion.py']

model = dict(
    image_size=(512, 1024),
    autoencoder='stabilityai/sd-vae-ft-mse',  # or a folder that AutoencoderKL.save_pretrained wrote
    scheduler=dict(beta_schedule='scaled_linear', beta_start=0.00085, beta_end=0.012, prediction_type='epsilon'),
    unet=dict(
        block_out_channels=(224, 448, 672, 896),
        down_block_types=('DownBlock2D', ) + ('AttnDownBlock2D', ) * 3,
        up_block_types=('AttnUpBlock2D', ) * 3 + ('UpBlock2D', ),
        layers_per_block=2,
        attention_head_dim=32,
        norm_num_groups=32))

target_train = dict(
    type='CityscapesDataset',
    data_root='data/cityscapes',
    data_prefix=dict(img_path='leftImg8bit/train'),
    pipeline=[
        dict(type='LoadImageStrictly'),
        dict(type='Resize', scale=(1024, 512), keep_ratio=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackSegInputs')
    ])
train_dataloader = dict(batch_size=8, dataset=dict(target=target_train))
