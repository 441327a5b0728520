# MaskTwins (Wang et al., ICML 2025) on HRDA: two complementary masks of a target image, and agreement between them.
_base_ = ['./hrda.py']
objectives = _base_.objectives + [dict(type='ComplementaryMasking', block=64, threshold=0.968)]
