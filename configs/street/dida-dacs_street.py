# DiDA on DACS.
_base_ = ['./dacs_street.py']
model = dict(objectives=_base_.model.objectives + [dict(type='DegradationConsistency', weights='paper_deeplabv2')])
