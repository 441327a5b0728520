# MaskTwins (Wang et al., ICML 2025) on DAFormer: two complementary masks of a target image, and agreement between them.
_base_ = ['./daformer.py']
objectives = _base_.objectives + [
    dict(type='ComplementaryMasking', block=32, threshold=0.968, ignore_top=15, ignore_bottom=120)]
