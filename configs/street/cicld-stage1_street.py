# CICLD, first stage: encoder, neck and decoder by source labels and ClassMix, the denoiser by the noise loss.
_base_ = ['./cicld_network.py', '../_base_/uda/cicld_stage1.py']

model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher=dict(momentum=0.99),
    evaluate='teacher',
    objectives={{_base_.objectives}})
