# SYNTHIA -> Cityscapes: source 1280x760, target 2048x1024 -> 1024x512.
# Data: python tools/dataset_converters/synthia.py data/synthia
#       python tools/dataset_converters/cityscapes.py data/cityscapes
crop_size = (512, 512)

source_pipeline = [
    dict(type='LoadImageStrictly'),
    dict(type='LoadLabelStrictly'),
    dict(type='Resize', scale=(1280, 760), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs')
]
target_pipeline = [  # target labels are never used in training
    dict(type='LoadImageStrictly'),
    dict(type='Resize', scale=(1024, 512), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs')
]
# Labels are loaded after Resize: scores are computed at the resolution of the label files.
val_pipeline = [
    dict(type='LoadImageStrictly'),
    dict(type='Resize', scale=(1024, 512), keep_ratio=True),
    dict(type='LoadLabelStrictly'),
    dict(type='PackSegInputs')
]
# The same with mmseg's own transforms, which init_model and MMSegInferencer look for by name.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1024, 512), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')
]

source_train = dict(
    type='SYNTHIADataset',
    data_root='data/synthia',
    data_prefix=dict(img_path='RGB', seg_map_path='GT/LABELS'),
    pipeline=source_pipeline)
target_train = dict(
    type='CityscapesDataset',
    data_root='data/cityscapes',
    data_prefix=dict(img_path='leftImg8bit/train'),
    pipeline=target_pipeline)
target_val = dict(
    type='CityscapesDataset',
    data_root='data/cityscapes',
    data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
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

# SYNTHIA shows neither terrain, truck nor train; results are reported over the other 16 classes, and over 13 of
# them. mIoU is the mean over all 19.
val_evaluator = dict(
    type='SubsetIoUMetric',
    iou_metrics=['mIoU'],
    subsets=dict(
        mIoU16=('road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign', 'vegetation',
                'sky', 'person', 'rider', 'car', 'bus', 'motorcycle', 'bicycle'),
        mIoU13=('road', 'sidewalk', 'building', 'traffic light', 'traffic sign', 'vegetation', 'sky', 'person',
                'rider', 'car', 'bus', 'motorcycle', 'bicycle')))
test_evaluator = val_evaluator
