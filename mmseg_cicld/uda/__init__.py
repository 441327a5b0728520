"""Training signals for unsupervised domain adaptation."""
from .augmentation import Augmentation
from .classmix_ema import ClassMixEMA
from .intensity_augmentation import IntensityAugmentation
from .objectives import (ClassMixSelfTraining, DegradationConsistency, EntropyMinimisation, LatentDomainAlignment,
                         MaskedConsistency, Objective, OutputSpaceAdversarial, SourceSupervision)
from .strong_augmentation import StrongAugmentation
from .teacher import EMATeacher

__all__ = ['Augmentation', 'ClassMixEMA', 'ClassMixSelfTraining', 'DegradationConsistency', 'EMATeacher',
           'EntropyMinimisation', 'IntensityAugmentation', 'LatentDomainAlignment', 'MaskedConsistency', 'Objective',
           'OutputSpaceAdversarial', 'SourceSupervision', 'StrongAugmentation']
