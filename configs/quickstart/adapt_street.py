# Quick start, second half: ClassMix with pseudo-labels of an EMA teacher (DACS) and rare class sampling. It starts
# from the source-only weights: set load_from to their checkpoint.
_base_ = ['./small_segmentor.py', '../_base_/datasets/street.py', '../_base_/uda/dacs.py']

model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    objectives={{_base_.objectives}})
train_dataloader = dict(batch_size=8, dataset=dict(rare_class_sampling={{_base_.rare_class_sampling}}))
val_dataloader = dict(batch_size=10)
test_dataloader = dict(batch_size=10)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
custom_hooks = [dict(type='UDAVisualizationHook', interval=200)]
