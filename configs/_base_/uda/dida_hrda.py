# DiDA (Li et al., NeurIPS 2025) on HRDA: degraded images of both domains, compensated and reconstructed.
_base_ = ['./hrda.py']
objectives = _base_.objectives + [dict(type='DegradationConsistency', weights='paper', threshold=0.968)]
