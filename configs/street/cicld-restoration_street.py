# The shift between domains as the noise: blocks of one place of the latent are hidden, and colours change.
_base_ = ['./cicld_restoration_network.py', '../_base_/uda/cicld_stage1.py']

restored = dict(type='LatentRestoration', degradation=dict(type='MaskDegradation', block=8))
model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher=dict(momentum=0.99),
    evaluate='teacher',
    objectives=_base_.objectives + [restored])
