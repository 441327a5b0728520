"""Backbones beside those of mmseg."""
from .autoencoder_encoder import AutoencoderEncoder
from .fused_mix_vision_transformer import FusedMixVisionTransformer

__all__ = ['AutoencoderEncoder', 'FusedMixVisionTransformer']
