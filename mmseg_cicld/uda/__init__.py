"""Training signals for unsupervised domain adaptation."""
from .augmentation import Augmentation
from .intensity_augmentation import IntensityAugmentation
from .objectives import (BalancedLogits, ClassBalance, ClassMixSelfTraining, ComplementaryMasking,
                         DegradationConsistency, EntropyMinimisation, FoundationFeatureDistance, LatentDomainAlignment,
                         LatentRestoration, MaskedConsistency, MaskedRepresentationModeling, Objective,
                         OutputSpaceAdversarial, SourceSupervision, TargetSelfTraining)
from .photometric_augmentation import PhotometricAugmentation
from .strong_augmentation import StrongAugmentation
from .teacher import EMATeacher
from .uda_wrapper import UDAWrapper

# The name by which configs know the wrapper.
ClassMixEMA = UDAWrapper

__all__ = ['Augmentation', 'BalancedLogits', 'ClassBalance', 'ClassMixEMA', 'ClassMixSelfTraining',
           'ComplementaryMasking', 'DegradationConsistency', 'EMATeacher', 'EntropyMinimisation',
           'FoundationFeatureDistance', 'IntensityAugmentation', 'LatentDomainAlignment', 'LatentRestoration',
           'MaskedConsistency', 'MaskedRepresentationModeling', 'Objective', 'OutputSpaceAdversarial',
           'PhotometricAugmentation', 'SourceSupervision', 'StrongAugmentation', 'TargetSelfTraining', 'UDAWrapper']
