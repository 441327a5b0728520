"""The training loop that resumes where it stopped, without replaying data."""
import contextlib
import random
from collections.abc import Mapping

import numpy as np
import torch
from mmengine.hooks import CheckpointHook
from mmengine.model import is_model_wrapper
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from mmengine.runner.utils import calc_dynamic_intervals
from torch import nn
from torch.utils.data import DataLoader

from ..random_streams import KeyedStreams
from .graceful_stop import TrainingStopped
from .samplers import KeyedInfiniteSampler


@LOOPS.register_module()
class ExactResumeTrainLoop(IterBasedTrainLoop):
    """Iteration-based training whose iteration n is the same whether or not the run was stopped before it.

    A validation that was due when the run was stopped, or that was running, is done first.
    The data iterator is created when training starts, after a checkpoint has been loaded, and begins at the first
    sample that was not used. Before each iteration the global random streams (dropout and the like) are
    seeded from the seed, the iteration and the rank.

    Args:
        runner: The runner that owns the loop.
        dataloader: The data loader or its config; its sampler has to be a :class:`KeyedInfiniteSampler`.
        max_iters: Number of iterations of the whole training.
        val_begin: First iteration after which validation may run.
        val_interval: Iterations between two validations.
        dynamic_intervals: Pairs (milestone, interval) as in mmengine's loops.

    Raises:
        TypeError: If the sampler cannot start at an arbitrary position.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, max_iters: int, val_begin: int = 1,
                 val_interval: int = 1000, dynamic_intervals: list[tuple[int, int]] | None = None) -> None:
        # Not the parent's constructor: it starts the workers before the first position is known.
        BaseLoop.__init__(self, runner, dataloader)
        sampler = self.dataloader.sampler
        if not isinstance(sampler, KeyedInfiniteSampler):
            raise TypeError(f'train_dataloader.sampler is a {type(sampler).__name__}, but ExactResumeTrainLoop needs '
                            "train_dataloader.sampler=dict(type='KeyedInfiniteSampler')")
        self._max_iters = int(max_iters)
        self._max_epochs, self._epoch, self._iter = 1, 0, 0
        self.val_begin, self.val_interval = val_begin, val_interval
        self.stop_training = False
        self.dynamic_milestones, self.dynamic_intervals = calc_dynamic_intervals(val_interval, dynamic_intervals)
        runner.visualizer.dataset_meta = getattr(self.dataloader.dataset, 'metainfo', None)

    def run(self) -> nn.Module:
        """Trains until ``max_iters`` or until ``stop_training`` is set, and returns the model.

        Raises:
            ValueError: If a part of the config counts epochs, which this loop has none of.
        """
        refuse_parts_with_epochs(self.runner)
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        with contextlib.suppress(TrainingStopped):
            self._run_iterations(self._key_random_draws())
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _run_iterations(self, streams: KeyedStreams) -> None:
        if self._iter:  # Resumed: checkpoints are written before the validation of their iteration.
            self._validate_if_due()
        if self._iter < self._max_iters and not self.stop_training:
            batches = iter(self.dataloader)
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            data_batch = next(batches)
            self.runner.call_hook('before_iteration')
            seed_globals(streams.integer('iteration', self._iter, self.runner.rank))
            self.run_iter(data_batch)
            self._validate_if_due()

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        if self._validation_is_due():
            self.runner.val_loop.run()

    def _key_random_draws(self) -> KeyedStreams:
        streams = KeyedStreams(self.runner.seed)
        sampler = self.dataloader.sampler
        # A resumed run without a seed in its config takes that of the checkpoint, after the sampler was built.
        sampler.seed = self.runner.seed
        sampler.skip(self._iter * self.dataloader.batch_size)
        model = self.runner.model.module if is_model_wrapper(self.runner.model) else self.runner.model
        if hasattr(model, 'streams'):
            model.streams = streams
        return streams

    def _validation_is_due(self) -> bool:
        if self.runner.val_loop is None or self._iter < self.val_begin or self.stop_training:
            return False
        return self._iter % self.val_interval == 0 or self._iter == self._max_iters


def seed_globals(seed: int) -> None:
    """Seeds the global streams of Python, NumPy and torch (all devices) with an integer in [0, 2**63)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def refuse_epoch_loop(loop: Mapping | BaseLoop) -> None:
    """Refuses ``train_cfg`` that counts epochs: samples come from an endless stream, so the first would never end.

    Raises:
        ValueError: With the loop to take.
    """
    named = loop.get('type') if isinstance(loop, Mapping) else type(loop)
    epochs = named is None and loop.get('by_epoch')
    if epochs or named in ('EpochBasedTrainLoop', EpochBasedTrainLoop):
        raise ValueError(f'train_cfg has {"by_epoch=True" if epochs else "type=EpochBasedTrainLoop"}, but training '
                         'samples come from an endless stream without epochs: set train_cfg=dict(type='
                         '"ExactResumeTrainLoop", max_iters=..., val_interval=...), and by_epoch=False in checkpoint '
                         'hook and schedulers')


def refuse_parts_with_epochs(runner: Runner) -> None:
    """Refuses checkpoints and schedules that wait for the end of an epoch, which never comes.

    Raises:
        ValueError: With the key to change.
    """
    keys = ['default_hooks.checkpoint' for hook in runner.hooks if isinstance(hook, CheckpointHook) and hook.by_epoch]
    schedulers = runner.param_schedulers if isinstance(runner.param_schedulers, list) else []
    keys += [f'param_scheduler[{i}]' for i, scheduler in enumerate(schedulers) if scheduler.by_epoch]
    if keys:
        raise ValueError(f'{keys[0]}.by_epoch is True (as it is if it is not given), but ExactResumeTrainLoop counts '
                         f'iterations: set {keys[0]}.by_epoch=False, and its intervals in iterations')
