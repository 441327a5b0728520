# The same with SoMA, see daformer_dinov2-large_soma_1024x1024.py. A third of the blocks rests, as of DINOv2-L.
_base_ = ['./daformer_dinov2-base_lora_1024x1024.py']

model = dict(backbone=dict(tuning=dict(first_block=4, initialisation='smallest_singular')))
