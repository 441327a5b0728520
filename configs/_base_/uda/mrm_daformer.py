# MRM (Zhou et al., CVPR 2026) on DAFormer: target features of which 40 % are hidden, rebuilt, and classified by the head.
_base_ = ['./daformer.py']
objectives = _base_.objectives + [
    dict(type='MaskedRepresentationModeling', ratio=0.4, threshold=0.968, ignore_top=15, ignore_bottom=120)]
