# MIC on HRDA: masked target images, in blocks of a sixteenth of the crop, as published.
_base_ = ['./hrda_street.py']
model = dict(objectives=_base_.model.objectives + [dict(type='MaskedConsistency', block=16, ratio=0.7, threshold=0.968)])
