# DACS with the small Vision Transformer.
_base_ = ['./vit_network.py', '../_base_/uda/dacs.py']

model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    evaluate='teacher',
    objectives={{_base_.objectives}})
