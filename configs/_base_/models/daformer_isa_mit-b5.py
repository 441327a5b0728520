# Ablation of the DAFormer head: interlaced sparse self-attention (DAFormer, table 7).
_base_ = ['./daformer_sepaspp_mit-b5.py']

model = dict(decode_head=dict(decoder_params=dict(
    fusion_cfg=dict(
        _delete_=True,
        type='isa',
        isa_channels=256,
        key_query_num_convs=1,
        down_factor=(8, 8),
        norm_cfg={{_base_.norm_cfg}},
        act_cfg=dict(type='ReLU')))))
