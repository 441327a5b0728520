# MRM (Zhou et al., CVPR 2026) on HRDA: features of context and detail of which 40 % are hidden, rebuilt, and classified.
_base_ = ['./hrda.py']
objectives = _base_.objectives + [dict(type='MaskedRepresentationModeling', ratio=0.4, threshold=0.968)]
