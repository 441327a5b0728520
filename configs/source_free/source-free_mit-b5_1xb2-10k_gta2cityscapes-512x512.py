# Source-free adaptation of DAFormer's network with MiT-B5, trained on GTA5, to Cityscapes. Set load_from to the checkpoint:
#     --cfg-options load_from=work_dirs/source-only_mit-b5_1xb2-40k_gta2cityscapes-512x512/iter_40000.pth
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/daformer_sepaspp_mit-b5.py',
    '../_base_/datasets/gta2cityscapes-512x512.py',
    '../_base_/uda/source_free.py',
    '../_base_/schedules/adamw_poly_40k_mit.py',
]
model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    objectives={{_base_.objectives}},
    evaluate='teacher')
train_dataloader = dict(dataset=dict(type='UnlabelledDataset', source=None))
optim_wrapper = dict(optimizer=dict(lr=1e-5))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=500, end=10000)
]
train_cfg = dict(max_iters=10000, val_interval=1000)
