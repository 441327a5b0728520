# DAFormer's training: DACS with rare class sampling and the distance of features of things to those of ImageNet.
_base_ = ['./dacs_street.py']

model = dict(objectives=[
    dict(type='SourceSupervision', feature_distance=dict(weight=0.005, classes='things', min_ratio=0.75)),
    dict(type='ClassMixSelfTraining', threshold=0.968),
])
train_dataloader = dict(dataset=dict(rare_class_sampling={{_base_.rare_classes}}))
