# A diffusion model of Cityscapes in pixel space, whole images in a quarter of their size, with the network of DDPM for
# 256 x 256. Data: python tools/dataset_converters/cityscapes.py data/cityscapes
_base_ = ['../_base_/target_diffusion.py']

model = dict(
    image_size=(256, 512),
    scheduler=dict(prediction_type='epsilon', clip_sample=True),
    unet=dict(
        block_out_channels=(128, 128, 256, 256, 512, 512),
        down_block_types=('DownBlock2D', ) * 4 + ('AttnDownBlock2D', 'DownBlock2D'),
        up_block_types=('UpBlock2D', 'AttnUpBlock2D') + ('UpBlock2D', ) * 4,
        layers_per_block=2,
        norm_num_groups=32))

target_train = dict(
    type='CityscapesDataset',
    data_root='data/cityscapes',
    data_prefix=dict(img_path='leftImg8bit/train'),
    pipeline=[
        dict(type='LoadImageStrictly'),
        dict(type='Resize', scale=(512, 256), keep_ratio=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackSegInputs')
    ])
train_dataloader = dict(batch_size=4, dataset=dict(target=target_train))
