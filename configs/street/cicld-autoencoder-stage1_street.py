# CICLD with an autoencoder's encoder, stage 3 of 4.
_base_ = ['./cicld_autoencoder_network.py', '../_base_/uda/cicld_stage1.py']

model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher=dict(momentum=0.99),
    evaluate='teacher',
    objectives={{_base_.objectives}})
