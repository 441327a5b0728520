# SYNTHIA -> Cityscapes, at random scales: short sides 1024 times 0.9 to 1.1.
_base_ = ['./synthia2cityscapes-1024x1024.py', './parts/random_scale_1024x1024.py']

train_dataloader = dict(dataset=dict(
    source=dict(pipeline={{_base_.labelled_scaled_pipeline}}),
    target=dict(pipeline={{_base_.unlabelled_scaled_pipeline}})))
