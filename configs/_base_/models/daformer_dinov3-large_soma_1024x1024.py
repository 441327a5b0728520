# The same with SoMA, see daformer_dinov2-large_soma_1024x1024.py.
_base_ = ['./daformer_dinov3-large_lora_1024x1024.py']

model = dict(backbone=dict(tuning=dict(first_block=8, initialisation='smallest_singular')))
