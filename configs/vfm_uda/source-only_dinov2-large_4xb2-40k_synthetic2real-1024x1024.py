# Source only, DINOv2-L with ViT adapter, from GTA5 and SYNTHIA, with scores on Cityscapes, ACDC and Dark Zurich.
_base_ = ['./vfm-uda_dinov2-large_4xb2-40k_synthetic2real-1024x1024.py']

model = dict(teacher=None, objectives=_base_.objectives[:1])
train_dataloader = dict(dataset=dict(target=None))
