# The autoencoder whose encoder is the backbone of the four stages below, and the images as it wants them: in [-1, 1].
autoencoder = dict(
    block_out_channels=(16, 32, 64, 64),
    down_block_types=('DownEncoderBlock2D', ) * 4,
    up_block_types=('UpDecoderBlock2D', ) * 4,
    layers_per_block=1,
    latent_channels=4,
    norm_num_groups=8,
    mid_block_add_attention=False)
normalisation = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
