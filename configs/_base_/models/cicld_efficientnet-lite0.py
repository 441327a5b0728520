# CICLD (Yu et al., 2024) around EfficientNet-Lite0: a latent of stride 8, a small denoiser and one step of denoising in
# tests, as on the street set. configs/cicld/README.md has the reason of every value.
_base_ = ['./parts/efficientnet-lite0.py']

model = dict(
    neck=dict(
        type='InterCoderNeck',
        in_channels=[24, 40, 112, 320],
        latent_channels=64,
        latent_index=1,
        skip_channels=[64, 64],
        norm_cfg={{_base_.norm_cfg}}),
    decode_head=dict(
        type='LatentDiffusionHead',
        in_channels=[64, 64, 64],
        decoder_channels=[128, 64],
        num_classes=19,
        dropout_ratio=0.1,
        norm_cfg={{_base_.norm_cfg}},
        diffused='image',
        condition='concat',
        denoiser=dict(
            type='UNet2DModel',
            block_out_channels=(64, 128),
            down_block_types=('DownBlock2D', 'DownBlock2D'),
            up_block_types=('UpBlock2D', 'UpBlock2D'),
            layers_per_block=1,
            norm_num_groups=8),
        scheduler=dict(
            type='DDIMScheduler',
            beta_schedule='scaled_linear',
            beta_start=0.0015,
            beta_end=0.0205,
            prediction_type='epsilon'),
        training=dict(prediction_steps=1),
        inference=dict(steps=1, start=249),
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)))
