"""Training signals for unsupervised domain adaptation."""
from .classmix_ema import ClassMixEMA, NonFiniteLossError
from .objectives import (ClassMixSelfTraining, DegradationConsistency, EntropyMinimisation, MaskedConsistency,
                         Objective, OutputSpaceAdversarial, SourceSupervision)
from .teacher import EMATeacher

__all__ = ['ClassMixEMA', 'ClassMixSelfTraining', 'DegradationConsistency', 'EMATeacher', 'EntropyMinimisation',
           'MaskedConsistency', 'NonFiniteLossError', 'Objective', 'OutputSpaceAdversarial', 'SourceSupervision']
