# DiDA on HRDA.
_base_ = ['./hrda_street.py']
model = dict(objectives=_base_.model.objectives + [dict(type='DegradationConsistency', weights='paper_deeplabv2')])
