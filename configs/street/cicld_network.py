# CICLD's network around the encoder of the other methods: a latent of stride 8, a small denoiser, one step in tests.
_base_ = ['./base.py', '../_base_/models/cicld_efficientnet-lite0.py']

model = dict(data_preprocessor=dict(size=(128, 128)), decode_head=dict(dropout_ratio=0.0))
