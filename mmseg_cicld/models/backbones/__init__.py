"""Backbones beside those of mmseg."""
from .autoencoder_encoder import AutoencoderEncoder
from .efficientnet_lite import EfficientNetLite
from .fused_mix_vision_transformer import FusedMixVisionTransformer
from .tuned_backbone import TunedBackbone

__all__ = ['AutoencoderEncoder', 'EfficientNetLite', 'FusedMixVisionTransformer', 'TunedBackbone']
