"""Transforms for data pipelines: files that are checked when read, usable target pixels, packing."""
from .loading import LoadImageStrictly, LoadLabelStrictly, LoadPseudoLabelMargins
from .packing import PackUDAInputs

__all__ = ['LoadImageStrictly', 'LoadLabelStrictly', 'LoadPseudoLabelMargins', 'PackUDAInputs']
