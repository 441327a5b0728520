# The first version of the paper: a mask at the denoiser's middle block (Eq. 5) in place of the image latent.
# Predictions are made with the null condition.
_base_ = ['./cicld_mit-b5.py']

model = dict(decode_head=dict(
    condition='mask_attention',
    denoiser=dict(
        type='UNet2DConditionModel',
        down_block_types=('DownBlock2D', 'DownBlock2D', 'DownBlock2D'),
        mid_block_type='UNetMidBlock2D',
        up_block_types=('UpBlock2D', 'UpBlock2D', 'UpBlock2D')),
    mask_encoder=dict(
        type='ColourMaskEncoder',
        palette='cityscapes',
        render_size=(256, 256),
        backbone_channels=2048,
        backbone=dict(
            type='ResNetV1c',
            depth=50,
            init_cfg=dict(
                type='VerifiedPretrained', checkpoint='open-mmlab://resnet50_v1c',
                key='decode_head.mask_encoder.backbone'))),
    training=dict(condition_dropout=0.5)))
