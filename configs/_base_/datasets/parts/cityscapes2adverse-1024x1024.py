# Cityscapes as the source, 2048x1024, and what targets of 1920x1080 share: ACDC, Dark Zurich.
_base_ = ['./loaders.py']
crop_size = (1024, 1024)
source_resize = dict(type='Resize', scale=(2048, 1024), keep_ratio=True)
target_resize = dict(type='Resize', scale=(1920, 1080), keep_ratio=True)

source_train = dict(
    type='CityscapesDataset',
    data_root='data/cityscapes',
    data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
    pipeline=[
        dict(type='LoadImageStrictly'),
        dict(type='LoadLabelStrictly'),
        source_resize,
        dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackUDAInputs')
    ])
target_pipeline = [  # target labels are never used in training
    dict(type='LoadImageStrictly'),
    target_resize,
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs')
]
# Labels are loaded after Resize: scores are computed at the resolution of the label files.
val_pipeline = [
    dict(type='LoadImageStrictly'), target_resize, dict(type='LoadLabelStrictly'), dict(type='PackSegInputs')
]
# The same with mmseg's own transforms, which init_model and MMSegInferencer look for by name.
test_pipeline = [
    dict(type='LoadImageFromFile'), target_resize, dict(type='LoadAnnotations'), dict(type='PackSegInputs')
]

train_dataloader = dict(dataset=dict(source=source_train, target=dict(pipeline=target_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
