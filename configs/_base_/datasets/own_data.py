# Your own data: copy this file, or arrange your files like this and leave it as it is.
#   data/own/classes.txt                                 one class name a line; the first has id 0
#   data/own/source/images/**   data/own/source/labels/**   labelled images for training
#   data/own/target/images/**                            images to adapt to, no labels
#   data/own/val/images/**      data/own/val/labels/**      a few labelled target images for the score
# The label of images/a/b.jpg is labels/a/b.png: 8-bit, one class id a pixel, 255 = ignore.
# The number of classes is said only in classes.txt: leave num_classes out of the heads, it is filled in.
# Look at your files before training: python tools/dataset_converters/check_dataset.py CONFIG
# For rare class sampling: python tools/dataset_converters/rare_class_stats.py CONFIG
metainfo = dict(classes='data/own/classes.txt')
crop_size = (512, 512)
# Images are resized to fit in this (width, height), keeping their shape.
source_scale = (1024, 1024)
target_scale = (1024, 1024)

source_pipeline = [
    dict(type='LoadImageStrictly'),
    dict(type='LoadLabelStrictly'),
    dict(type='Resize', scale=source_scale, keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs')
]
target_pipeline = [
    dict(type='LoadImageStrictly'),
    dict(type='Resize', scale=target_scale, keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    # Images may be smaller than the crop: no pseudo-labels in what is padded.
    dict(type='PackUDAInputs', crop_size=crop_size)
]
# Labels are loaded after Resize: scores are computed at the resolution of the label files.
val_pipeline = [
    dict(type='LoadImageStrictly'),
    dict(type='Resize', scale=target_scale, keep_ratio=True),
    dict(type='LoadLabelStrictly'),
    dict(type='PackSegInputs')
]
# The same with mmseg's own transforms, which init_model and MMSegInferencer look for by name.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=target_scale, keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')
]

source_train = dict(
    type='FolderDataset',
    data_root='data/own/source',
    data_prefix=dict(img_path='images', seg_map_path='labels'),
    metainfo=metainfo,
    pipeline=source_pipeline)
target_train = dict(
    type='FolderDataset',
    data_root='data/own/target',
    data_prefix=dict(img_path='images'),
    metainfo=metainfo,
    pipeline=target_pipeline)
target_val = dict(
    type='FolderDataset',
    data_root='data/own/val',
    data_prefix=dict(img_path='images', seg_map_path='labels'),
    metainfo=metainfo,
    pipeline=val_pipeline)

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='KeyedInfiniteSampler'),
    dataset=dict(type='UDADataset', source=source_train, target=target_train))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=target_val)
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(target_val, pipeline=test_pipeline))

val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
