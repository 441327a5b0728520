"""Necks between a backbone and its decode head."""
from .inter_coder import InterCoderNeck
from .segformer_adapter import SegFormerAdapter

__all__ = ['InterCoderNeck', 'SegFormerAdapter']
