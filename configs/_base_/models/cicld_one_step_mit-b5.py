# CICLD that predicts in one step from no noise: the whole network learns at that timestep from the segmentation loss.
_base_ = ['./cicld_mit-b5.py']

model = dict(decode_head=dict(
    training=dict(timesteps='start', noise='zero', denoiser_learns_task=True, noise_loss_weight=0.0),
    inference=dict(steps=1, noise='zero')))
