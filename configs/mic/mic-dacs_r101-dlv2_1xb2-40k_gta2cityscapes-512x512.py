# MIC with DACS, DeepLabV2 with ResNet-101, GTA5 to Cityscapes.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/deeplabv2red_r101-d8.py',
    '../_base_/datasets/gta2cityscapes-512x512.py',
    '../_base_/uda/mic_dacs.py',
    '../_base_/schedules/adamw_poly_40k_cnn.py',
]
model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    objectives={{_base_.objectives}})
