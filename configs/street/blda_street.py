# BLDA on DAFormer; crops have a sixteenth of the pixels of those of 512, so fewer make a class count.
_base_ = ['./daformer_street.py']
model = dict(objectives=_base_.model.objectives + [dict(type='BalancedLogits', min_pixels=50, warmup=50)])
