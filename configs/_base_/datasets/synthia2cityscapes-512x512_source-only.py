# SYNTHIA -> Cityscapes, source-only training: no target images, photometric distortion.
_base_ = './synthia2cityscapes-512x512.py'

train_dataloader = dict(
    dataset=dict(
        target=None,
        source=dict(pipeline=[
            dict(type='LoadImageStrictly'),
            dict(type='LoadLabelStrictly'),
            dict(type='Resize', scale=(1280, 760), keep_ratio=True),
            dict(type='RandomCrop', crop_size={{_base_.crop_size}}, cat_max_ratio=0.75),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'),
            dict(type='PackUDAInputs')
        ])))
