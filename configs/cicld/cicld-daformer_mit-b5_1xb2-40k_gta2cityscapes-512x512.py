# CICLD in the training of DAFormer, GTA5 to Cityscapes.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/cicld_mit-b5.py',
    '../_base_/datasets/gta2cityscapes-512x512.py',
    '../_base_/uda/cicld_daformer.py',
    '../_base_/schedules/adamw_poly_40k_cicld.py',
]
model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    evaluate='teacher',
    # Without the ImageNet feature distance, see README.md.
    objectives=[dict(type='SourceSupervision')] + _base_.objectives[1:])
train_dataloader = dict(dataset=dict(rare_class_sampling={{_base_.rare_class_sampling}}))
