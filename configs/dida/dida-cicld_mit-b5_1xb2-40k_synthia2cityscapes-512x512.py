# DiDA on CICLD, MiT-B5, SYNTHIA to Cityscapes.
_base_ = ['../cicld/cicld_mit-b5_1xb2-40k_synthia2cityscapes-512x512.py']
objectives = _base_.objectives + [dict(type='DegradationConsistency', weights='paper', threshold=0.968)]
model = dict(objectives=objectives)
