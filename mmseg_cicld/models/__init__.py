"""Networks: backbones, necks, decode heads and segmentors. They know nothing of domains, teachers or pseudo-labels."""
from .backbones import FusedMixVisionTransformer
from .decode_heads import DAFormerHead, DLV2Head, HRDAHead
from .necks import InterCoderNeck, SegFormerAdapter
from .segmentors import HRDAEncoderDecoder
from .verified_pretrained import VerifiedPretrained

__all__ = ['DAFormerHead', 'DLV2Head', 'FusedMixVisionTransformer', 'HRDAEncoderDecoder', 'HRDAHead', 'InterCoderNeck',
           'SegFormerAdapter', 'VerifiedPretrained']
