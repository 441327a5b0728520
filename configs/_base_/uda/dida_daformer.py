# DiDA (Li et al., NeurIPS 2025) on DAFormer: degraded images of both domains, compensated and reconstructed.
_base_ = ['./daformer.py']
objectives = _base_.objectives + [dict(type='DegradationConsistency', weights='paper', threshold=0.968)]
