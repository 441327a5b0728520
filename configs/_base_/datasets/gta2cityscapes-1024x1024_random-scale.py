# GTA5 -> Cityscapes, at random scales: short side of the source 1440, of the target 1024, each times 0.9 to 1.1.
_base_ = ['./gta2cityscapes-1024x1024.py', './parts/random_scale_1024x1024.py']

source_pipeline = [
    dict(type='LoadImageStrictly'),
    dict(type='LoadLabelStrictly'),
    dict(type='RandomResize', scale=(5760, 1440), ratio_range=(0.9, 1.1), keep_ratio=True),
    dict(type='RandomCrop', crop_size={{_base_.crop_size}}, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs')
]
train_dataloader = dict(dataset=dict(
    source=dict(pipeline=source_pipeline), target=dict(pipeline={{_base_.unlabelled_scaled_pipeline}})))
