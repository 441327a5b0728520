# CICLD with the encoder of an autoencoder, as in the latent diffusion models that the paper builds on; its levels of
# stride 4 and 8 make skips and latent.
_base_ = ['./cicld_mit-b5.py', './parts/autoencoder_f8.py']

model = dict(
    data_preprocessor=_base_.normalisation,
    backbone=dict(_delete_=True, type='AutoencoderEncoder', autoencoder={{_base_.autoencoder}}, out_indices=(2, 3)),
    neck=dict(in_channels=[512, 512]))
