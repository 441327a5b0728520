# DAFormer's head on the encoder of the other methods.
_base_ = ['./base.py', '../_base_/models/daformer_efficientnet-lite0.py']

model = dict(
    data_preprocessor=dict(size=(128, 128)), decode_head=dict(channels=64, decoder_params=dict(embed_dims=64)))
