"""Networks: backbones, necks, decode heads and segmentors. They know nothing of domains, teachers or pseudo-labels."""
from .backbones import FusedMixVisionTransformer
from .decode_heads import DAFormerHead, DLV2Head, HRDAHead
from .losses import DomainAdversarialLoss, MaximumMeanDiscrepancy, PixelClassContrastiveLoss
from .necks import InterCoderNeck, SegFormerAdapter
from .segmentors import HRDAEncoderDecoder
from .verified_pretrained import VerifiedPretrained

__all__ = ['DAFormerHead', 'DLV2Head', 'DomainAdversarialLoss', 'FusedMixVisionTransformer', 'HRDAEncoderDecoder',
           'HRDAHead', 'InterCoderNeck', 'MaximumMeanDiscrepancy', 'PixelClassContrastiveLoss', 'SegFormerAdapter',
           'VerifiedPretrained']
