# CICLD (Yu et al., 2024) in the training of DAFormer.
_base_ = ['./daformer.py']
objectives = _base_.objectives + [dict(type='LatentDomainAlignment', domains=3, input='clean', weight=0.01)]
