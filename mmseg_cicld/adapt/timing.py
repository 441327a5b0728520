"""Times a few real steps of each stage, so that a training can be made to fit into minutes."""
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from ..engine.runner import AdaptationRunner
from .choices import Speed

_STEPS, _FIRST = 10, 4  # the first steps are slower: memory is fetched, loaders start
_IMAGES = 3


def measure_speed(configs: Sequence[Config], folder: Path, report: Callable[[int], object]) -> Speed:
    """Takes real steps, with the loading of their data.

    Args:
        configs: Of the stages, in order.
        folder: Where the trainings may write.
        report: Called with the number of stages that have been timed.
    """
    steps, validation = {}, 0.0
    for number, config in enumerate(configs):
        report(number)
        name = str(number)
        config.work_dir, config.label_audit = str(folder / name), None
        if number:  # nothing was trained before; the first one may have a segmentor to begin with
            config.load_from = None
        config.train_cfg.max_iters = _STEPS
        config.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=-1, save_last=False)
        config.default_hooks.pop('report')
        loader = config.pop('val_dataloader', None)
        for key in ('val_cfg', 'val_evaluator', 'test_dataloader', 'test_cfg', 'test_evaluator'):
            config.pop(key, None)
        clock, runner = _ClockHook(), AdaptationRunner.from_cfg(config)
        runner.register_hook(clock)
        model = runner.train()
        steps[name] = clock.seconds
        if loader is not None:
            validation = _seconds_of_validation(model.evaluated, loader)
    return Speed(steps, validation)


def _seconds_of_validation(network: nn.Module, loader: dict) -> float:
    built = Runner.build_dataloader(dict(loader, num_workers=0, persistent_workers=False))
    network.eval()
    began, images = time.monotonic(), 0
    for batch in islice(built, _IMAGES):
        network.test_step(batch)
        images += len(batch['inputs'])
    _wait_for_device()
    return (time.monotonic() - began) / images * len(built.dataset)


class _ClockHook(Hook):
    """Measures the seconds of a step, without the first ones."""

    def __init__(self) -> None:
        self._began = self.seconds = 0.0

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        if runner.iter + 1 == _FIRST:
            _wait_for_device()
            self._began = time.monotonic()
        elif runner.iter + 1 == _STEPS:
            _wait_for_device()
            self.seconds = (time.monotonic() - self._began) / (_STEPS - _FIRST)


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
