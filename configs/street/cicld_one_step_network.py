# CICLD's network that predicts in one step from no noise, and learns that from the segmentation loss.
_base_ = ['./cicld_network.py']

model = dict(decode_head=dict(
    training=dict(timesteps='start', noise='zero', denoiser_learns_task=True, noise_loss_weight=0.0),
    inference=dict(steps=1, noise='zero')))
