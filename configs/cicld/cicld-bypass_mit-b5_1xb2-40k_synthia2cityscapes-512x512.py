# CICLD's network and training without the denoiser, the recommended form, SYNTHIA to Cityscapes.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/cicld_bypass_mit-b5.py',
    '../_base_/datasets/synthia2cityscapes-512x512.py',
    '../_base_/uda/cicld_stage1.py',
    '../_base_/schedules/adamw_poly_40k_cicld.py',
]
model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    evaluate='teacher',
    objectives={{_base_.objectives}})
