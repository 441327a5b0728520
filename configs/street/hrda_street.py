# HRDA: context and detail crops on top of DAFormer.
_base_ = ['./hrda_network.py', '../_base_/uda/dacs.py']

model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    objectives={{_base_.objectives}})
train_dataloader = dict(dataset=dict(rare_class_sampling={{_base_.rare_class_sampling}}))
