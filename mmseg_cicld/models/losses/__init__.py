"""Losses between sets of feature maps. They know the sets by their number alone."""
from .contrastive import PixelClassContrastiveLoss
from .domain_adversarial import DomainAdversarialLoss
from .mmd import MaximumMeanDiscrepancy

__all__ = ['DomainAdversarialLoss', 'MaximumMeanDiscrepancy', 'PixelClassContrastiveLoss']
