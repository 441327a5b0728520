# CICLD's head with the autoencoder's encoder and the UNet of a published latent diffusion model (Stable Diffusion 2), in one
# step from no noise at the last timestep, learned by the segmentation loss (E2E-FT, Garcia et al., WACV 2025).
_base_ = ['./cicld_vae-f8.py']
pipeline = 'stabilityai/stable-diffusion-2'  # a name on the hub, or a folder that save_pretrained wrote

model = dict(
    backbone=dict(pretrained=pipeline, subfolder='vae'),
    neck=dict(latent_channels=4),
    decode_head=dict(
        in_channels=[64, 128, 4],
        condition='concat',
        denoiser=dict(_delete_=True, type='UNet2DConditionModel', pretrained=pipeline, subfolder='unet'),
        scheduler=dict(beta_start=0.00085, beta_end=0.012, prediction_type='v_prediction'),
        training=dict(timesteps='start', noise='zero', denoiser_learns_task=True, noise_loss_weight=0.0),
        inference=dict(steps=1, start=None, noise='zero')))
