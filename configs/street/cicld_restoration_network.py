# CICLD's network whose denoiser restores what was taken from a latent: one step without noise. The noisy latent is that of
# the image, so it needs no other beside it, and a small one does.
_base_ = ['./cicld_network.py']

model = dict(decode_head=dict(
    condition='none',
    denoiser=dict(block_out_channels=(16, 32), add_attention=False),
    training=dict(timesteps='start', noise='zero', denoiser_learns_task=True, noise_loss_weight=0.0),
    inference=dict(steps=1, noise='zero')))
