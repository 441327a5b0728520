"""Training signals, a file a method."""
from .balanced_logits import BalancedLogits
from .class_balance import ClassBalance
from .complementary_masking import ComplementaryMasking
from .degradation import DegradationConsistency
from .entropy_minimisation import EntropyMinimisation
from .foundation_distance import FoundationFeatureDistance
from .latent_alignment import LatentDomainAlignment
from .latent_restoration import LatentRestoration
from .masked_consistency import MaskedConsistency
from .masked_representation import MaskedRepresentationModeling
from .objective import Objective
from .output_adversarial import OutputSpaceAdversarial
from .self_training import ClassMixSelfTraining
from .source import SourceSupervision
from .target_self_training import TargetSelfTraining

__all__ = ['BalancedLogits', 'ClassBalance', 'ClassMixSelfTraining', 'ComplementaryMasking', 'DegradationConsistency',
           'EntropyMinimisation', 'FoundationFeatureDistance', 'LatentDomainAlignment', 'LatentRestoration',
           'MaskedConsistency', 'MaskedRepresentationModeling', 'Objective', 'OutputSpaceAdversarial',
           'SourceSupervision', 'TargetSelfTraining']
