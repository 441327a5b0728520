"""Training that can be trusted: exact resume, safe and atomic checkpoints, several processes, mixed precision."""
from .distributed import UDADistributedDataParallel
from .loops import ExactResumeTrainLoop
from .optim import AutocastOptimWrapper
from .runner import AdaptationRunner
from .samplers import KeyedInfiniteSampler

__all__ = ['AdaptationRunner', 'AutocastOptimWrapper', 'ExactResumeTrainLoop', 'KeyedInfiniteSampler',
           'UDADistributedDataParallel']
