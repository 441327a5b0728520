# The network of the other methods at two scales, on images of twice the size, as HRDA has them: its context crop, at half
# of that, sees what the other methods see in their crop, and its detail crop a part of that enlarged.
_base_ = ['./segformer_network.py']

crop_size = (256, 256)
doubled = dict(type='Resize', scale_factor=2.0, keep_ratio=True)  # a factor suits other data in the street set's place

model = dict(
    type='HRDAEncoderDecoder',
    scales=(1, 0.5),
    hr_crop_size=(128, 128),
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(type='HRDAHead', single_scale_head='LevelwiseSegformerHead', attention_embed_dim=64, hr_loss_weight=0.1),
    test_cfg=dict(_delete_=True, mode='slide', crop_size=crop_size, stride=(128, 128), batched_slide=True))

source_pipeline = [
    dict(type='LoadImageStrictly'),
    dict(type='LoadLabelStrictly'),
    doubled,
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs')
]
target_pipeline = [
    dict(type='LoadImageStrictly'),
    doubled,
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs')
]
# Labels are loaded after Resize: scores are computed at the resolution of the label files.
val_pipeline = [
    dict(type='LoadImageStrictly'),
    doubled,
    dict(type='LoadLabelStrictly'),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    doubled,
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')
]
train_dataloader = dict(dataset=dict(source=dict(pipeline=source_pipeline), target=dict(pipeline=target_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
