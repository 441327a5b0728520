# The denoiser fills hidden places of the latents of target images, one place a cell, and is used for nothing else.
_base_ = ['./cicld-restoration_street.py']

rebuilt = dict(type='MaskedRepresentationModeling', rebuilder='denoiser', cell=8)
model = dict(
    segmentor=dict(decode_head=dict(
        training=dict(denoiser_learns_task=False, decoder_input='latent', prediction_steps=0), inference=dict(steps=0))),
    objectives=_base_.model.objectives[:2] + [rebuilt])
