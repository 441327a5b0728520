# Cityscapes -> ACDC: source 2048x1024 -> 1024x512, target 1920x1080 -> 960x540.
# Data: python tools/dataset_converters/cityscapes.py data/cityscapes
#       python tools/dataset_converters/acdc.py data/acdc
crop_size = (512, 512)

source_pipeline = [
    dict(type='LoadImageStrictly'),
    dict(type='LoadLabelStrictly'),
    dict(type='Resize', scale=(1024, 512), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs')
]
target_pipeline = [  # target labels are never used in training
    dict(type='LoadImageStrictly'),
    dict(type='Resize', scale=(960, 540), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs')
]
# Labels are loaded after Resize: scores are computed at the resolution of the label files.
val_pipeline = [
    dict(type='LoadImageStrictly'),
    dict(type='Resize', scale=(960, 540), keep_ratio=True),
    dict(type='LoadLabelStrictly'),
    dict(type='PackSegInputs')
]
# The same with mmseg's own transforms, which init_model and MMSegInferencer look for by name.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(960, 540), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')
]

source_train = dict(
    type='CityscapesDataset',
    data_root='data/cityscapes',
    data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
    pipeline=source_pipeline)
target_train = dict(
    type='ACDCDataset',
    data_root='data/acdc',
    data_prefix=dict(img_path='rgb_anon/train'),
    pipeline=target_pipeline)
target_val = dict(
    type='ACDCDataset',
    data_root='data/acdc',
    data_prefix=dict(img_path='rgb_anon/val', seg_map_path='gt/val'),
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
