# The same with SoMA (Yun et al., CVPR 2025): changes start from the smallest singular directions, 8 blocks rest.
_base_ = ['./daformer_dinov2-large_lora_1024x1024.py']

model = dict(backbone=dict(tuning=dict(first_block=8, initialisation='smallest_singular')))
