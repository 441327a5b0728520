# GTA5 -> Cityscapes: source 1914x1052 -> 2560x1407, target 2048x1024.
# Data: python tools/dataset_converters/gta.py data/gta
#       python tools/dataset_converters/cityscapes.py data/cityscapes
_base_ = ['./parts/to_cityscapes-1024x1024.py', './parts/score.py']

source_pipeline = [
    dict(type='LoadImageStrictly'),
    dict(type='LoadLabelStrictly'),
    dict(type='Resize', scale=(2560, 1440), keep_ratio=True),
    dict(type='RandomCrop', crop_size={{_base_.crop_size}}, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs')
]
source_train = dict(
    type='GTADataset',
    data_root='data/gta',
    data_prefix=dict(img_path='images', seg_map_path='labels'),
    pipeline=source_pipeline)
train_dataloader = dict(dataset=dict(source=source_train))
