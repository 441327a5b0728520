"""Training signals for unsupervised domain adaptation."""
from .classmix_ema import ClassMixEMA
from .objectives import (ClassMixSelfTraining, DegradationConsistency, EntropyMinimisation, LatentDomainAlignment,
                         MaskedConsistency, Objective, OutputSpaceAdversarial, SourceSupervision)
from .teacher import EMATeacher

__all__ = ['ClassMixEMA', 'ClassMixSelfTraining', 'DegradationConsistency', 'EMATeacher', 'EntropyMinimisation',
           'LatentDomainAlignment', 'MaskedConsistency', 'Objective', 'OutputSpaceAdversarial', 'SourceSupervision']
