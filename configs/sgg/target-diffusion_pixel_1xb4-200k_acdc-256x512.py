# The same for ACDC: images of 1920 x 1080 (width x height) become 512 x 288, and crops leave out some rows.
# Data: python tools/dataset_converters/acdc.py data/acdc
_base_ = ['./target-diffusion_pixel_1xb4-200k_cityscapes-256x512.py']

target_train = dict(
    type='ACDCDataset',
    data_root='data/acdc',
    data_prefix=dict(img_path='rgb_anon/train'),
    pipeline=[
        dict(type='LoadImageStrictly'),
        dict(type='Resize', scale=(512, 288), keep_ratio=True),
        dict(type='RandomCrop', crop_size=(256, 512)),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackSegInputs')
    ])
train_dataloader = dict(dataset=dict(target=dict(_delete_=True, **target_train)))
