"""Training signals for unsupervised domain adaptation."""
from .augmentation import Augmentation
from .intensity_augmentation import IntensityAugmentation
from .objectives import (ClassBalance, ClassMixSelfTraining, DegradationConsistency, EntropyMinimisation,
                         FoundationFeatureDistance, LatentDomainAlignment, MaskedConsistency, Objective,
                         OutputSpaceAdversarial, SourceSupervision, TargetSelfTraining)
from .photometric_augmentation import PhotometricAugmentation
from .strong_augmentation import StrongAugmentation
from .teacher import EMATeacher
from .uda_wrapper import UDAWrapper

# The name by which configs know the wrapper.
ClassMixEMA = UDAWrapper

__all__ = ['Augmentation', 'ClassBalance', 'ClassMixEMA', 'ClassMixSelfTraining', 'DegradationConsistency', 'EMATeacher',
           'EntropyMinimisation', 'FoundationFeatureDistance', 'IntensityAugmentation', 'LatentDomainAlignment',
           'MaskedConsistency', 'Objective', 'OutputSpaceAdversarial', 'PhotometricAugmentation', 'SourceSupervision',
           'StrongAugmentation', 'TargetSelfTraining', 'UDAWrapper']
