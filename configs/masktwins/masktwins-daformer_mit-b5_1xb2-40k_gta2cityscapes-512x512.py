# MaskTwins on DAFormer, MiT-B5, GTA5 to Cityscapes.
_base_ = ['../daformer/daformer_mit-b5_1xb2-40k_gta2cityscapes-512x512.py']
objectives = _base_.objectives + [
    dict(type='ComplementaryMasking', block=32, threshold=0.968, ignore_top=15, ignore_bottom=120)]
model = dict(objectives=objectives)
