# vit-adapter_dinov3-small.py for crops of 1024: in tests windows of that size that overlap by half.
_base_ = ['./vit-adapter_dinov3-small.py']

model = dict(
    data_preprocessor=dict(size=(1024, 1024)),
    test_cfg=dict(mode='slide', crop_size=(1024, 1024), stride=(512, 512)))
