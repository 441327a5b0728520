# DAFormer's head on DINOv2 ViT-L/14 whose last four blocks learn, for crops of 1024.
_base_ = ['./daformer_dinov2-large_lora_1024x1024.py']

model = dict(backbone=dict(tuning=dict(_delete_=True, type='LastBlocksTuning', blocks=4)))
