"""Decode heads beside those of mmseg."""
from .daformer_head import DAFormerHead
from .dlv2_head import DLV2Head
from .hrda_head import HRDAHead
from .latent_diffusion_head import LatentDiffusionHead
from .levelwise_segformer_head import LevelwiseSegformerHead
from .upscale_head import UpscaleHead

__all__ = ['DAFormerHead', 'DLV2Head', 'HRDAHead', 'LatentDiffusionHead', 'LevelwiseSegformerHead', 'UpscaleHead']
