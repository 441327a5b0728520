"""Training that can be trusted: exact resume, safe and atomic checkpoints, several processes, mixed precision."""
from .checkpoint_fetching import fetch_checkpoint, safe_loading
from .checkpoint_hook import AtomicCheckpointHook
from .checkpoint_reading import CheckpointError, read_checkpoint
from .checkpoint_writing import write_checkpoint
from .collapse_hook import CollapsedError, CollapseHook
from .distributed import UDADistributedDataParallel
from .graceful_stop import GracefulStopHook
from .layer_decay import StudentLayerDecay, StudentLearningRateDecay
from .loops import ExactResumeTrainLoop
from .merged_parameter_groups import MergedOptimWrapperConstructor
from .optim import AutocastOptimWrapper
from .runner import AdaptationRunner
from .samplers import KeyedInfiniteSampler

__all__ = ['AdaptationRunner', 'AtomicCheckpointHook', 'AutocastOptimWrapper', 'CheckpointError',
           'CollapseHook', 'CollapsedError',
           'ExactResumeTrainLoop', 'GracefulStopHook', 'KeyedInfiniteSampler', 'MergedOptimWrapperConstructor',
           'StudentLayerDecay', 'StudentLearningRateDecay', 'UDADistributedDataParallel', 'fetch_checkpoint',
           'read_checkpoint', 'safe_loading', 'write_checkpoint']
