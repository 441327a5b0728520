# CICLD's neck and head behind the encoder of the autoencoder; its levels of stride 4 and 8 make skips and latent.
_base_ = ['./cicld_network.py', './cicld_autoencoder.py']

model = dict(
    data_preprocessor=_base_.normalisation,
    backbone=dict(_delete_=True, type='AutoencoderEncoder', autoencoder={{_base_.autoencoder}}, out_indices=(2, 3)),
    neck=dict(in_channels=[64, 64]))
