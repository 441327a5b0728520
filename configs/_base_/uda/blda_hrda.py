# BLDA (Li et al., ICML 2025) on HRDA: logits in the losses are corrected for how easily each class is predicted.
_base_ = ['./hrda.py']
objectives = _base_.objectives + [dict(type='BalancedLogits', strength=0.1)]
