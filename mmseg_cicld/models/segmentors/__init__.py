"""Segmentors beside those of mmseg."""
from .hrda import HRDAEncoderDecoder

__all__ = ['HRDAEncoderDecoder']
