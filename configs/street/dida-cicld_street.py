# DiDA on CICLD.
_base_ = ['./cicld_street.py']
model = dict(objectives=_base_.model.objectives + [dict(type='DegradationConsistency', weights='paper_deeplabv2')])
