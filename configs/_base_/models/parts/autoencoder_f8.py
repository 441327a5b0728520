# The autoencoder of the published latent diffusion models of stride 8 (Rombach et al., CVPR 2022), and the images as it
# wants them: in [-1, 1].
autoencoder = dict(
    block_out_channels=(128, 256, 512, 512),
    down_block_types=('DownEncoderBlock2D', ) * 4,
    up_block_types=('UpDecoderBlock2D', ) * 4,
    layers_per_block=2,
    latent_channels=4)
normalisation = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
