# Ablation of the DAFormer head: ASPP without depthwise separable convolutions (DAFormer, table 7).
_base_ = ['./daformer_sepaspp_mit-b5.py']

model = dict(decode_head=dict(decoder_params=dict(fusion_cfg=dict(sep=False))))
