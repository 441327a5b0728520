"""Datasets of both domains, the paired dataset, rare class sampling, and checks of data before training."""
from .transforms import LoadImageStrictly, LoadLabelStrictly, LoadPseudoLabelMargins, PackUDAInputs
from .uda_dataset import DrawKey, UDADataset

__all__ = ['DrawKey', 'LoadImageStrictly', 'LoadLabelStrictly', 'LoadPseudoLabelMargins', 'PackUDAInputs',
           'UDADataset']
