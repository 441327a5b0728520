# DAFormer's head on DINOv2 ViT-L/14 with learnable tokens (Wei et al., CVPR 2024), for crops of 1024.
_base_ = ['./daformer_dinov2-large_lora_1024x1024.py']

model = dict(backbone=dict(tuning=dict(_delete_=True, type='LearnableTokens', tokens=100, rank=16)))
