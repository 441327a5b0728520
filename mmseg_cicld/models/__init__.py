"""Networks: backbones, necks and decode heads. They know nothing of domains, teachers or pseudo-labels."""
from .backbones import FusedMixVisionTransformer
from .decode_heads import DAFormerHead, DLV2Head
from .necks import SegFormerAdapter
from .verified_pretrained import VerifiedPretrained

__all__ = ['DAFormerHead', 'DLV2Head', 'FusedMixVisionTransformer', 'SegFormerAdapter', 'VerifiedPretrained']
