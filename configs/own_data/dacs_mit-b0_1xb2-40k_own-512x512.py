# DACS with the MiT-B0 DAFormer network on own data, see docs/own_data.md.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/daformer_sepaspp_mit-b0_own-classes.py',
    '../_base_/datasets/own_data.py',
    '../_base_/uda/dacs.py',
    '../_base_/schedules/adamw_poly_40k_mit.py',
]
model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    objectives={{_base_.objectives}})
