# HRDA: context and detail crops, with DAFormer's training.
_base_ = ['./hrda_network.py', '../_base_/uda/hrda.py']

model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher=dict(momentum=0.99),
    evaluate='teacher',
    objectives={{_base_.objectives}})
# Rare classes are counted in the files: of as many pixels there, a crop of the doubled image has four times as many.
train_dataloader = dict(dataset=dict(rare_class_sampling=dict(min_pixels=40, class_temp=0.1, min_crop_ratio=2.0)))
