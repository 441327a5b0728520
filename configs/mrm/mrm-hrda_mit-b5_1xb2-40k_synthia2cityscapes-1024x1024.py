# MRM on HRDA, MiT-B5, SYNTHIA to Cityscapes.
_base_ = ['../hrda/hrda_mit-b5_1xb2-40k_synthia2cityscapes-1024x1024.py']
objectives = _base_.objectives + [dict(type='MaskedRepresentationModeling', threshold=0.968)]
model = dict(objectives=objectives)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(rebuilder=dict(lr_mult=10 / 3))))  # the paper's 2e-4
