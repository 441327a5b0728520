"""Training signals for unsupervised domain adaptation."""
from .classmix_ema import ClassMixEMA, NonFiniteLossError
from .objectives import (ClassMixSelfTraining, EntropyMinimisation, MaskedConsistency, Objective, OutputSpaceAdversarial,
                         SourceSupervision)
from .teacher import EMATeacher

__all__ = ['ClassMixEMA', 'ClassMixSelfTraining', 'EMATeacher', 'EntropyMinimisation', 'MaskedConsistency',
           'NonFiniteLossError', 'Objective', 'OutputSpaceAdversarial', 'SourceSupervision']
