"""Training signals, a file a method."""
from .class_balance import ClassBalance
from .degradation import DegradationConsistency
from .entropy_minimisation import EntropyMinimisation
from .foundation_distance import FoundationFeatureDistance
from .latent_alignment import LatentDomainAlignment
from .masked_consistency import MaskedConsistency
from .objective import Objective
from .output_adversarial import OutputSpaceAdversarial
from .self_training import ClassMixSelfTraining
from .source import SourceSupervision
from .target_self_training import TargetSelfTraining

__all__ = ['ClassBalance', 'ClassMixSelfTraining', 'DegradationConsistency', 'EntropyMinimisation',
           'FoundationFeatureDistance', 'LatentDomainAlignment', 'MaskedConsistency', 'Objective',
           'OutputSpaceAdversarial', 'SourceSupervision', 'TargetSelfTraining']
