# Cityscapes -> ACDC, at random scales: short sides 1024 times 0.9 to 1.1, in tests 1024.
_base_ = ['./cityscapes2acdc-1024x1024.py', './parts/random_scale_1024x1024.py']

test_resize = dict(type='Resize', scale=(2048, 1024), keep_ratio=True)
# Labels are loaded after Resize: scores are computed at the resolution of the label files.
val_pipeline = [
    dict(type='LoadImageStrictly'), test_resize, dict(type='LoadLabelStrictly'), dict(type='PackSegInputs')
]
# The same with mmseg's own transforms, which init_model and MMSegInferencer look for by name.
test_pipeline = [
    dict(type='LoadImageFromFile'), test_resize, dict(type='LoadAnnotations'), dict(type='PackSegInputs')
]
train_dataloader = dict(dataset=dict(
    source=dict(pipeline={{_base_.labelled_scaled_pipeline}}),
    target=dict(pipeline={{_base_.unlabelled_scaled_pipeline}})))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
