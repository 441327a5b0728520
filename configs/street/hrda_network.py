# The network of the other methods at two scales: crops of 128 at half size, and a detail crop of 64 in each.
_base_ = ['./segformer_network.py']

model = dict(
    type='HRDAEncoderDecoder',
    scales=(1, 0.5),
    hr_crop_size=(64, 64),
    decode_head=dict(type='HRDAHead', single_scale_head='SegformerHead', attention_embed_dim=64, hr_loss_weight=0.1),
    test_cfg=dict(_delete_=True, mode='slide', crop_size=(128, 128), stride=(64, 64), batched_slide=True))
