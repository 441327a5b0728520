# DiDA on MIC with HRDA, the paper's best row; dida-*_street.py has it on the others.
_base_ = ['./mic_street.py']
model = dict(objectives=_base_.model.objectives + [dict(type='DegradationConsistency', weights='paper_deeplabv2')])
