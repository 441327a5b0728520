"""Stops a training in an orderly manner when the machine or the user asks for it."""
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from ctypes import c_bool
from functools import partial
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .checkpoint_hook import AtomicCheckpointHook

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@HOOKS.register_module()
class GracefulStopHook(Hook):
    """On SIGTERM or SIGINT (Ctrl-C): finishes the iteration, saves a checkpoint and exits with 128 + signal number.

    Under gradient accumulation it stops after the next optimiser update. With several processes all stop after the same
    iteration. A second signal acts as it would without this hook.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._signum, self._stopped_by = 0, 0
        self._previous: dict[int, Any] = {}
        self._group: dist.ProcessGroup | None = None
        # Shared with the workers of the data loaders.
        self._training = multiprocessing.RawValue(c_bool, False)

    def before_train(self, runner: Runner) -> None:
        """Takes over the signals; they reach the workers of the data loader too, which have to outlive them."""
        if threading.current_thread() is not threading.main_thread():
            runner.logger.warning('training does not run in the main thread: SIGTERM and SIGINT stop it at once')
            return
        if runner.distributed:
            self._group = dist.new_group(backend='gloo')
        for loop in filter(None, (runner.train_loop, runner.val_loop)):
            loop.dataloader.worker_init_fn = partial(_init_worker, loop.dataloader.worker_init_fn, self._training)
        self._training.value = True
        self._previous = {signum: signal.signal(signum, self._remember) for signum in _SIGNALS}

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Saves and ends the loop if a signal has come."""
        if (runner.iter + 1) % runner.optim_wrapper._accumulative_counts:
            return
        self._stopped_by = self._agree()
        if self._stopped_by:
            hook = next((hook for hook in runner.hooks if isinstance(hook, AtomicCheckpointHook)), None)
            self._saved = 'no checkpoint hook, nothing saved' if hook is None else f'saved {hook.save_now(runner)}'
            runner.train_loop.stop_training = True

    def after_train(self, runner: Runner) -> None:
        """Exits if a signal has ended the loop, after all other hooks have finished their work.

        Raises:
            SystemExit: With 128 + signal number.
        """
        if self._stopped_by:
            runner.logger.warning(f'{signal.Signals(self._stopped_by).name}: stopped after iteration {runner.iter} of '
                                  f'{runner.max_iters}; {self._saved}; continue with --resume')
            raise SystemExit(128 + self._stopped_by)

    def release(self, runner: Runner) -> None:
        """Gives the signals back; called by the runner however training ends."""
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous = {}
        self._training.value = False

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        if self._signum:
            signal.signal(signum, self._previous[signum])
            signal.raise_signal(signum)
        self._signum = signum

    def _agree(self) -> int:
        # A process that stops alone would leave the others waiting for it in the next iteration.
        if self._group is None:
            return self._signum
        signum = torch.tensor(self._signum)
        dist.all_reduce(signum, dist.ReduceOp.MAX, group=self._group)
        return int(signum)


def _init_worker(inner: Callable[[int], None] | None, training: Any, worker_id: int) -> None:
    """Lets a worker outlive a signal to the whole process group, but not the end of the training.

    Args:
        inner: The ``worker_init_fn`` that the data loader had.
        training: Shared flag, true while the training runs.
        worker_id: Index of the worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Without this flag the parent could not end its workers: it sends them SIGTERM when it exits.
    signal.signal(signal.SIGTERM, lambda signum, frame: None if training.value else os._exit(0))
    if inner is not None:
        inner(worker_id)
