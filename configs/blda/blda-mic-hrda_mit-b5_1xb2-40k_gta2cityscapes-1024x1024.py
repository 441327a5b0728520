# BLDA on MIC with HRDA, MiT-B5, GTA5 to Cityscapes.
_base_ = ['../mic/mic-hrda_mit-b5_1xb2-40k_gta2cityscapes-1024x1024.py']
objectives = _base_.objectives + [dict(type='BalancedLogits', strength=0.1)]
model = dict(objectives=objectives)
