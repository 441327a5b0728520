# MaskTwins on DAFormer; blocks of a sixteenth of the crop, as published.
_base_ = ['./daformer_street.py']
model = dict(objectives=_base_.model.objectives + [dict(type='ComplementaryMasking', block=8)])
