# DAFormer's head on DINOv3 ViT-S/16 that learns by LoRA, see daformer_dinov2-large_lora_1024x1024.py.
_base_ = ['./daformer_dinov3-small.py']

model = dict(
    data_preprocessor=dict(size=(1024, 1024)),
    backbone=dict(
        _delete_=True,
        type='TunedBackbone',
        backbone={{_base_.model.backbone}},
        tuning=dict(type='LoRATuning', rank=16, alpha=16)),
    test_cfg=dict(mode='slide', crop_size=(1024, 1024), stride=(512, 512)))
