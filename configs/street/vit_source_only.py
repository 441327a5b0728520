# Source-only with the small Vision Transformer.
_base_ = ['./vit_network.py', '../_base_/uda/source_only.py']

model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    objectives={{_base_.objectives}})
train_dataloader = dict(dataset=dict(target=None, rare_class_sampling={{_base_.rare_classes}}))
