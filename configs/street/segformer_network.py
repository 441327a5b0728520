# EfficientNet-Lite0 from ImageNet weights with SegFormer's head.
_base_ = ['./base.py', '../_base_/models/segformer_efficientnet-lite0.py']

model = dict(data_preprocessor=dict(size=(128, 128)), decode_head=dict(channels=128))
