# MIC with HRDA, DeepLabV2 with ResNet-101, Cityscapes to Dark Zurich.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/hrda_deeplabv2red_r101-d8.py',
    '../_base_/datasets/cityscapes2darkzurich-1024x1024.py',
    '../_base_/uda/mic_hrda_clear2adverse.py',
    '../_base_/schedules/adamw_poly_40k_cnn.py',
]
model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    objectives={{_base_.objectives}})
train_dataloader = dict(dataset=dict(rare_class_sampling={{_base_.rare_class_sampling}}))
