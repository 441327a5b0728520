"""Necks between a backbone and its decode head."""
from .segformer_adapter import SegFormerAdapter

__all__ = ['SegFormerAdapter']
