# CICLD at the two scales of HRDA (Hoyer et al., ECCV 2022): context of the crop at half size, detail in a part of it.
_base_ = ['./cicld_mit-b5.py']

model = dict(
    type='HRDAEncoderDecoder',
    data_preprocessor=dict(size=(1024, 1024)),
    scales=(1, 0.5),
    hr_crop_size=(512, 512),
    crop_coord_divisible=8,
    decode_head=dict(
        type='HRDAHead', single_scale_head='LatentDiffusionHead', attention_embed_dim=64, hr_loss_weight=0.1),
    test_cfg=dict(mode='slide', crop_size=(1024, 1024), stride=(512, 512), batched_slide=True))
