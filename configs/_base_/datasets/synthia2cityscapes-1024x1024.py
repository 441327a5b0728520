# SYNTHIA -> Cityscapes: source 1280x760 -> 2560x1520, target 2048x1024.
# Data: python tools/dataset_converters/synthia.py data/synthia
#       python tools/dataset_converters/cityscapes.py data/cityscapes
_base_ = ['./parts/to_cityscapes-1024x1024.py', './parts/score_synthia.py']

source_pipeline = [
    dict(type='LoadImageStrictly'),
    dict(type='LoadLabelStrictly'),
    dict(type='Resize', scale=(2560, 1520), keep_ratio=True),
    dict(type='RandomCrop', crop_size={{_base_.crop_size}}, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs')
]
source_train = dict(
    type='SYNTHIADataset',
    data_root='data/synthia',
    data_prefix=dict(img_path='RGB', seg_map_path='GT/LABELS'),
    pipeline=source_pipeline)
train_dataloader = dict(dataset=dict(source=source_train))
