# MIC with HRDA, DAFormer network with MiT-B5, GTA5 to Cityscapes.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/hrda_daformer_sepaspp_mit-b5.py',
    '../_base_/datasets/gta2cityscapes-1024x1024.py',
    '../_base_/uda/mic_hrda.py',
    '../_base_/schedules/adamw_poly_40k_mit.py',
]
model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    objectives={{_base_.objectives}})
train_dataloader = dict(dataset=dict(rare_class_sampling={{_base_.rare_class_sampling}}))
