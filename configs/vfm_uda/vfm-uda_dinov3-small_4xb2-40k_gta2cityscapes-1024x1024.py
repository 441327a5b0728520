# VFM-UDA++, DINOv3-S with ViT adapter, GTA5 to Cityscapes.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-adapter_dinov3-small_1024x1024.py',
    '../_base_/datasets/gta2cityscapes-1024x1024_random-scale.py',
    '../_base_/uda/vfm_uda.py',
    '../_base_/schedules/adamw_linear_40k_vfm.py',
]
model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    objectives={{_base_.objectives}})
train_dataloader = dict(dataset=dict(rare_class_sampling={{_base_.rare_class_sampling}}))
