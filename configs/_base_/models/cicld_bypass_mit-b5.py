# CICLD's network without its denoiser: the decoder sees the latent itself. Measured, diffusion adds nothing to this.
_base_ = ['./cicld_mit-b5.py']

model = dict(decode_head=dict(denoiser=None))
