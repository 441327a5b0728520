# MRM on DAFormer, DeepLabV2 with ResNet-101, SYNTHIA to Cityscapes.
_base_ = ['../daformer/daformer_r101-dlv2_1xb2-40k_synthia2cityscapes-512x512.py']
objectives = _base_.objectives + [
    dict(type='MaskedRepresentationModeling', levels=[3], threshold=0.968, ignore_top=15, ignore_bottom=120)]
model = dict(objectives=objectives)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(rebuilder=dict(lr_mult=10 / 3))))  # the paper's 2e-4
