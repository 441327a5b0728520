"""Necks between a backbone and its decode head."""
from .inter_coder import InterCoderNeck
from .segformer_adapter import SegFormerAdapter
from .simple_feature_pyramid import SimpleFeaturePyramid

__all__ = ['InterCoderNeck', 'SegFormerAdapter', 'SimpleFeaturePyramid']
