"""Backbones beside those of mmseg."""
from .autoencoder_encoder import AutoencoderEncoder
from .efficientnet_lite import EfficientNetLite
from .fused_mix_vision_transformer import FusedMixVisionTransformer
from .transformers_backbone import TransformersBackbone
from .tuned_backbone import TunedBackbone
from .vit_adapter_backbone import ViTAdapterBackbone

__all__ = ['AutoencoderEncoder', 'EfficientNetLite', 'FusedMixVisionTransformer', 'TransformersBackbone',
           'TunedBackbone', 'ViTAdapterBackbone']
