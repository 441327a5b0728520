"""Losses between sets of feature maps. They know the sets by their number alone."""
from .contrastive import PixelClassContrastiveLoss
from .degradation_consistency import DegradationConsistencyLoss
from .domain_adversarial import DomainAdversarialLoss
from .gaussian_mixtures import GaussianMixtures
from .logit_balance import LogitBalance
from .mmd import MaximumMeanDiscrepancy

__all__ = ['DegradationConsistencyLoss', 'DomainAdversarialLoss', 'GaussianMixtures', 'LogitBalance',
           'MaximumMeanDiscrepancy', 'PixelClassContrastiveLoss']
