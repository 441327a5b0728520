# MIC: masked target images on top of HRDA; blocks of a sixteenth of the crop, as published.
_base_ = ['./hrda_network.py', '../_base_/uda/dacs.py']

model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    objectives=[
        dict(type='SourceSupervision'),
        dict(type='ClassMixSelfTraining', threshold=0.968),
        dict(type='MaskedConsistency', block=8, ratio=0.7),
    ])
train_dataloader = dict(dataset=dict(rare_class_sampling={{_base_.rare_class_sampling}}))
