# Ablation of the DAFormer head: 1x1 convolution, as in SegFormer with 256 channels (DAFormer, table 7).
_base_ = ['./daformer_sepaspp_mit-b5.py']

model = dict(decode_head=dict(decoder_params=dict(
    fusion_cfg=dict(
        _delete_=True,
        type='conv',
        kernel_size=1,
        norm_cfg={{_base_.norm_cfg}},
        act_cfg=dict(type='ReLU')))))
