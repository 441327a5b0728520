# DAFormer's head on DINOv2 ViT-L/14 that learns by LoRA (Hu et al., ICLR 2022) of rank 16, for crops of 1024.
_base_ = ['./daformer_dinov2-large.py']

model = dict(
    data_preprocessor=dict(size=(1024, 1024)),
    backbone=dict(
        _delete_=True,
        type='TunedBackbone',
        backbone={{_base_.model.backbone}},
        tuning=dict(type='LoRATuning', rank=16, alpha=16)),
    test_cfg=dict(mode='slide', crop_size=(1024, 1024), stride=(512, 512)))
