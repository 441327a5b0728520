"""Stops a training in an orderly manner when the machine or the user asks for it."""
import multiprocessing
import os
import signal
import threading
import time
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

from ..mmengine_internals import accumulated_passes
from .checkpoint_hook import AtomicCheckpointHook
from .sharding import is_sharded

# What terminals, users and schedulers send; Windows has the first two only.
_NAMES = ('SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGXCPU')
_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
# torchrun hands on a Ctrl-C that the terminal has sent to its processes already.
_ECHO_SECONDS = 5.


class TrainingStopped(SystemExit):
    """Leaves a validation, or the wait for data, after a signal; the training is saved. Holds the exit code."""


@HOOKS.register_module()
class GracefulStopHook(Hook):
    """Saves a checkpoint and ends the training when a signal asks for it, with the exit code 128 + signal number.

    The signals are SIGTERM, SIGINT (Ctrl-C), SIGHUP, SIGUSR1, SIGUSR2 and SIGXCPU.
    An iteration that is running is finished first; under gradient accumulation, all until the next optimiser update.
    Between two iterations, so in a validation or while data are read, the checkpoint is written at once; one process
    then stops there, and several stop together after the next iteration. The same signal once more acts as it would
    without this hook. SIGHUP stays ignored where it was, as ``nohup`` wants it.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._signum, self._stopped_by, self._came = 0, 0, 0.
        self._previous: dict[int, Any] = {}
        self._group: dist.ProcessGroup | None = None
        self._runner: Any = None  # a Runner from before_train to release
        self._in_iteration, self._done = False, 0
        # Shared with the workers of the data loaders.
        self._training = multiprocessing.RawValue(c_bool, False)

    def before_train(self, runner: Runner) -> None:
        """Takes over the signals; they reach the workers of the data loader too, which have to outlive them."""
        self._runner, self._done = runner, runner.iter
        if threading.current_thread() is not threading.main_thread():
            runner.logger.warning('training does not run in the main thread: signals such as SIGTERM and SIGINT stop '
                                  'it at once')
            return
        if runner.distributed:
            self._group = dist.new_group(backend='gloo')
        for loop in filter(None, (runner.train_loop, runner.val_loop)):
            loop.dataloader.worker_init_fn = partial(_init_worker, loop.dataloader.worker_init_fn, self._training)
        self._training.value = True
        self._previous = {signum: signal.signal(signum, self._remember) for signum in _SIGNALS
                          if not (signum == getattr(signal, 'SIGHUP', None)
                                  and signal.getsignal(signum) is signal.SIG_IGN)}

    def before_iteration(self, runner: Runner) -> None:
        """From here on, signals wait for the end of the iteration; called by :class:`ExactResumeTrainLoop`."""
        self._in_iteration = True

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Does the same for other loops, after the hooks that come before this one."""
        self._in_iteration = True

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Saves and ends the loop if a signal has come."""
        # In this order: a signal is either seen below, or finds that the iteration is over.
        self._in_iteration, self._done = False, runner.iter + 1
        if not self._is_updated():
            return
        self._stopped_by = self._agree()
        if self._stopped_by:
            self._saved = self._save(everywhere=True)
            runner.train_loop.stop_training = True

    def after_train(self, runner: Runner) -> None:
        """Exits if a signal has ended the loop, after all other hooks have finished their work.

        Raises:
            SystemExit: With 128 + signal number.
        """
        if self._stopped_by:
            runner.logger.warning(f'{signal.Signals(self._stopped_by).name}: stopped after iteration {self._done} of '
                                  f'{runner.max_iters}; {self._saved}; continue with --resume')
            raise SystemExit(128 + self._stopped_by)

    def release(self, runner: Runner) -> None:
        """Gives the signals back; called by the runner however training ends."""
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous, self._runner = {}, None
        self._training.value = False

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        if self._signum:
            self._come_again(signum)
            return
        self._signum, self._came = signum, time.monotonic()
        # A loop that has not yet counted the iteration that is over does so in the next moment.
        if self._in_iteration or self._runner.iter != self._done or not self._is_updated():
            return
        # No other process takes part: each is somewhere else, and those of all have the same weights.
        if self._runner.rank == 0 and not is_sharded(self._runner.model):  # which no process could save alone
            self._saved = self._save(everywhere=False)
        if self._group is None:
            self._stopped_by, self._runner.train_loop.stop_training = signum, True
            raise TrainingStopped(128 + signum)

    def _come_again(self, signum: int) -> None:
        if signum != self._signum or (self._group is not None and time.monotonic() - self._came < _ECHO_SECONDS):
            return
        signal.signal(signum, self._previous[signum])
        signal.raise_signal(signum)

    def _is_updated(self) -> bool:
        counts = accumulated_passes(self._runner.optim_wrapper)
        return self._done % counts == 0 or self._done == self._runner.max_iters

    def _save(self, everywhere: bool) -> str:
        hook = next((hook for hook in self._runner.hooks if isinstance(hook, AtomicCheckpointHook)), None)
        if hook is None:
            return 'no checkpoint hook, nothing saved'
        path = hook.save_now(self._runner, self._done, everywhere)
        return f'saved {path}' if path else 'nothing was trained that is not saved'

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
    for signum in _SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    # Without this flag the parent could not end its workers: it sends them SIGTERM when it exits.
    signal.signal(signal.SIGTERM, lambda signum, frame: None if training.value else os._exit(0))
    if inner is not None:
        inner(worker_id)
