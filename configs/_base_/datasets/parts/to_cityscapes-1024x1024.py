# Cityscapes as the target in its full size, 2048x1024; a benchmark adds its source.
_base_ = ['./to_cityscapes.py']
crop_size = (1024, 1024)
resize = dict(type='Resize', scale=(2048, 1024), keep_ratio=True)

target_pipeline = [  # target labels are never used in training
    dict(type='LoadImageStrictly'),
    # No pseudo-labels at the border of the image and on the own bonnet: rows above and below, columns left and right.
    dict(type='LoadPseudoLabelMargins', margins=(30, 240, 30, 30)),
    resize,
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs')
]
# Labels are loaded after Resize: scores are computed at the resolution of the label files.
val_pipeline = [dict(type='LoadImageStrictly'), resize, dict(type='LoadLabelStrictly'), dict(type='PackSegInputs')]
# The same with mmseg's own transforms, which init_model and MMSegInferencer look for by name.
test_pipeline = [dict(type='LoadImageFromFile'), resize, dict(type='LoadAnnotations'), dict(type='PackSegInputs')]

train_dataloader = dict(dataset=dict(target=dict(pipeline=target_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
