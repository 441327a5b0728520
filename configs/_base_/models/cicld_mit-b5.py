# CICLD (Yu et al., 2024) with MiT-B5 as its encoder: a latent of stride 8, noised, denoised with the image latent
# beside it, and decoded with the encoder's features beside it. configs/cicld/README.md has the reason of every value.
_base_ = ['./parts/mit-b5.py']

model = dict(
    neck=dict(
        type='InterCoderNeck',
        in_channels=[64, 128, 320, 512],
        latent_channels=16,
        latent_index=1,
        skip_channels=[64, 128],
        norm_cfg={{_base_.norm_cfg}}),
    decode_head=dict(
        _delete_=True,
        type='LatentDiffusionHead',
        in_channels=[64, 128, 16],  # the skips, finest first, and the latent
        decoder_channels=[256, 128],  # coarsest first; a skip makes its stage wider
        num_classes=19,
        dropout_ratio=0.1,
        norm_cfg={{_base_.norm_cfg}},
        diffused='image',
        condition='concat',
        denoiser=dict(
            type='UNet2DModel',
            block_out_channels=(64, 128, 256),
            down_block_types=('DownBlock2D', 'DownBlock2D', 'AttnDownBlock2D'),
            up_block_types=('AttnUpBlock2D', 'UpBlock2D', 'UpBlock2D'),
            layers_per_block=2),
        scheduler=dict(
            type='DDIMScheduler',
            num_train_timesteps=1000,
            beta_schedule='scaled_linear',
            beta_start=0.0015,
            beta_end=0.0205,
            prediction_type='epsilon'),
        training=dict(prediction_steps=1, noise_loss_weight=1.0),
        inference=dict(steps=50, start=249),
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)))
