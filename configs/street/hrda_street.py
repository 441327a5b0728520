# HRDA: context and detail crops, with DAFormer's training.
_base_ = ['./hrda_network.py', '../_base_/uda/hrda.py']

model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher=dict(momentum=0.99),
    evaluate='teacher',
    objectives={{_base_.objectives}})
train_dataloader = dict(dataset=dict(rare_class_sampling={{_base_.rare_classes}}))
