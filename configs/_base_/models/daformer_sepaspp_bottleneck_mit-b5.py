# Ablation of the DAFormer head: context only for the coarsest features (DAFormer, table 7).
_base_ = ['./daformer_sepaspp_mit-b5.py']

model = dict(neck=dict(type='SegFormerAdapter', out_layers=[3], scales=[8]), decode_head=dict(decoder_params=dict(
    embed_neck_cfg=dict(
        type='rawconv_and_aspp',
        kernel_size=1,
        sep=True,
        dilations=(1, 6, 12, 18),
        pool=False,
        norm_cfg={{_base_.norm_cfg}},
        act_cfg=dict(type='ReLU')),
    fusion_cfg=dict(
        _delete_=True,
        type='conv',
        kernel_size=1,
        norm_cfg={{_base_.norm_cfg}},
        act_cfg=dict(type='ReLU')))))
