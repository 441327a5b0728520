# MRM on DAFormer; cells of a sixteenth of the crop, as published, and a rebuilder of a quarter of the published width.
_base_ = ['./daformer_street.py']
rebuilt = dict(type='MaskedRepresentationModeling', cell=8, width=128, heads=4)
model = dict(objectives=_base_.model.objectives + [rebuilt])
