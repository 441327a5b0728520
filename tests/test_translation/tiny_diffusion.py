"""Tiny real diffusion models for tests."""
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DModel

from mmseg_cicld.translation import ImageDiffusion

UNET = dict(block_out_channels=(8, 8), down_block_types=('DownBlock2D', ) * 2, up_block_types=('UpBlock2D', ) * 2,
            layers_per_block=1, norm_num_groups=4, add_attention=False)
AUTOENCODER = dict(block_out_channels=(8, 8), down_block_types=('DownEncoderBlock2D', ) * 2,
                   up_block_types=('UpDecoderBlock2D', ) * 2, latent_channels=4, norm_num_groups=4,
                   mid_block_add_attention=False, scaling_factor=0.5)


def tiny_diffusion(latent: bool = False, seed: int = 0, **scheduler: object) -> ImageDiffusion:
    """Builds an untrained model; images need multiples of 2, in latent space of 4."""
    torch.manual_seed(seed)
    channels = AUTOENCODER['latent_channels'] if latent else 3
    unet = UNet2DModel(in_channels=channels, out_channels=channels, **UNET)
    config = dict(DDPMScheduler(**scheduler).config, _class_name='DDPMScheduler')
    return ImageDiffusion(unet, config, AutoencoderKL(**AUTOENCODER) if latent else None).eval()
