"""Networks: backbones, necks, decode heads and segmentors. They know nothing of domains, teachers or pseudo-labels.

Whoever builds on diffusers imports it in the function that does: it takes as long to import as half of mmseg, and most
networks do without it.
"""
from .adapter_pretraining import AdapterPretraining
from .autoencoder import AutoencoderPretraining
from .backbones import (AutoencoderEncoder, EfficientNetLite, FusedMixVisionTransformer, TransformersBackbone,
                        TunedBackbone, ViTAdapterBackbone)
from .decode_heads import DAFormerHead, DLV2Head, HRDAHead, LatentDiffusionHead, LevelwiseSegformerHead, UpscaleHead
from .diffusion import (BlurDegradation, ClassEmbeddingMaskEncoder, ColourMaskEncoder, MaskDegradation,
                        MixedDegradation, NoiseDegradation)
from .losses import DegradationConsistencyLoss, DomainAdversarialLoss, MaximumMeanDiscrepancy, PixelClassContrastiveLoss
from .necks import InterCoderNeck, SegFormerAdapter, SimpleFeaturePyramid
from .segmentors import HRDAEncoderDecoder
from .tuning import FrozenTuning, LastBlocksTuning, LearnableTokens, LoRATuning
from .verified_pretrained import VerifiedPretrained

__all__ = ['AdapterPretraining', 'AutoencoderEncoder', 'AutoencoderPretraining', 'BlurDegradation',
           'ClassEmbeddingMaskEncoder', 'ColourMaskEncoder', 'DAFormerHead', 'DLV2Head', 'DegradationConsistencyLoss',
           'DomainAdversarialLoss', 'EfficientNetLite', 'FrozenTuning', 'FusedMixVisionTransformer',
           'HRDAEncoderDecoder', 'HRDAHead', 'InterCoderNeck', 'LastBlocksTuning', 'LatentDiffusionHead',
           'LearnableTokens', 'LevelwiseSegformerHead', 'LoRATuning', 'MaskDegradation', 'MaximumMeanDiscrepancy',
           'MixedDegradation', 'NoiseDegradation', 'PixelClassContrastiveLoss', 'SegFormerAdapter',
           'SimpleFeaturePyramid', 'TransformersBackbone', 'TunedBackbone', 'UpscaleHead', 'VerifiedPretrained',
           'ViTAdapterBackbone']
