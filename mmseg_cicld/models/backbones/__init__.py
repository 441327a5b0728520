"""Backbones beside those of mmseg."""
from .fused_mix_vision_transformer import FusedMixVisionTransformer

__all__ = ['FusedMixVisionTransformer']
