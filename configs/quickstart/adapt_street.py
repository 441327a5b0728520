# Adaptation: ClassMix with pseudo-labels of an EMA teacher (DACS) and rare class sampling. It starts from the
# source-only weights: set load_from to their checkpoint.
_base_ = ['../street/dacs_street.py']

train_dataloader = dict(dataset=dict(rare_class_sampling={{_base_.rare_classes}}))
train_cfg = dict(val_interval=100)
custom_hooks = [dict(type='UDAVisualizationHook', interval=100)]
