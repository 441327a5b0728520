# CICLD in one stage: ClassMix, noise loss and the adversary of three domains.
_base_ = ['./cicld_network.py', '../_base_/uda/cicld.py']

model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher=dict(momentum=0.99),
    evaluate='teacher',
    objectives={{_base_.objectives}})
