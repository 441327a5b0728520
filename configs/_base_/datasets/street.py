# The rendered two-domain street set of the quick start (19 Cityscapes classes, images of 256 x 128).
# Made by: python tools/dataset_converters/render_street_set.py data/street
_base_ = ['./parts/loaders.py', './parts/score.py']

crop_size = (128, 128)

source_pipeline = [
    dict(type='LoadImageStrictly'),
    dict(type='LoadLabelStrictly'),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs')
]
target_pipeline = [
    dict(type='LoadImageStrictly'),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs')
]
val_pipeline = [
    dict(type='LoadImageStrictly'),
    dict(type='LoadLabelStrictly'),
    dict(type='PackSegInputs')
]
# The same with mmseg's own transforms, which init_model and MMSegInferencer look for by name.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')
]

source_train = dict(
    type='CityscapesDataset',
    data_root='data/street/source',
    data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
    pipeline=source_pipeline)
target_train = dict(
    type='CityscapesDataset',
    data_root='data/street/target',
    data_prefix=dict(img_path='leftImg8bit/train'),
    pipeline=target_pipeline)

target_val = dict(
    type='CityscapesDataset',
    data_root='data/street/target',
    data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
    pipeline=val_pipeline)

train_dataloader = dict(num_workers=2, dataset=dict(source=source_train, target=target_train))
val_dataloader = dict(num_workers=2, dataset=target_val)
test_dataloader = dict(num_workers=2, dataset=dict(target_val, pipeline=test_pipeline))
