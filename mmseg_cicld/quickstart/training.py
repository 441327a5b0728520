"""Trains one stage of the quick start through its config, continuing where it was stopped."""
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

import mmseg_cicld

from ..engine import AdaptationRunner
from .files import read_json, write_json
from .options import QuickstartOptions

CURVES, LAST_STEP = 'curves.json', 'last_step.npz'
_SMALLEST_CLASS = 40  # Below this many images not every class is sure to cover min_pixels of the config somewhere.


def quickstart_config(name: str, options: QuickstartOptions) -> Config:
    """Reads a config of ``configs/quickstart`` and sets data folder, seed and work folder.

    Raises:
        FileNotFoundError: If the configs are not where the package or the source tree has them.
    """
    package = Path(mmseg_cicld.__file__).parent
    folders = [package.parent / 'configs', package / '.mim' / 'configs']
    path = next((folder / 'quickstart' / f'{name}.py' for folder in folders if (folder / 'quickstart').is_dir()), None)
    if path is None:
        raise FileNotFoundError(f'the configs are in none of {[str(folder) for folder in folders]}: install the '
                                'package again, or run from a clone of the repository')
    cfg = Config.fromfile(path)
    train = cfg.train_dataloader.dataset
    for dataset in filter(None, (train.source, train.target, cfg.val_dataloader.dataset, cfg.test_dataloader.dataset)):
        dataset.data_root = str(options.data_root / Path(dataset.data_root).name)
    if options.images < _SMALLEST_CLASS:
        train.rare_class_sampling.min_pixels = 0
    cfg.randomness = dict(seed=options.seed)
    cfg.work_dir = str(options.work_dir / name)
    return cfg


def set_iterations(cfg: Config, iterations: int) -> None:
    """Changes the length of a training; it draws four panels, validates six times and saves twelve times."""
    cfg.train_cfg.update(max_iters=iterations, val_interval=-(-iterations // 6))
    warm_up, decay = cfg.param_scheduler
    warm_up.end = decay.begin = min(warm_up.end, max(1, iterations // 10))
    decay.end = iterations
    cfg.default_hooks.checkpoint.interval = -(-iterations // 12)
    for hook in cfg.get('custom_hooks', []):
        hook.interval = -(-iterations // 4)
    cfg.default_hooks.logger.interval = max(1, min(cfg.default_hooks.logger.interval, iterations // 2))


def train(cfg: Config, start_from: Path | None, report: Callable[[int, int], None]) -> Path:
    """Trains, or continues the training of ``cfg.work_dir``.

    Args:
        cfg: From :func:`quickstart_config`.
        start_from: Checkpoint whose weights a new training starts from; None for random weights.
        report: Called after each iteration with the number done and the number of all.

    Returns:
        The last checkpoint.
    """
    folder = Path(cfg.work_dir)
    cfg.resume = any(folder.glob('iter_*.pth'))
    cfg.load_from = None if cfg.resume or start_from is None else str(start_from)
    runner = AdaptationRunner.from_cfg(cfg)
    # Before the hook that draws panels, which takes the step that both have asked for.
    runner.register_hook(_RecordingHook(folder, report), priority='HIGH')
    runner.train()
    return folder / f'iter_{cfg.train_cfg.max_iters}.pth'


class _RecordingHook(Hook):
    """Records curves and the last step in files, by iteration, so that a resumed training completes them."""

    def __init__(self, folder: Path, report: Callable[[int, int], None], points: int = 60) -> None:
        self._folder, self._report, self._points = folder, report, points
        self._curves = read_json(folder / CURVES, dict(loss={}, miou={}, seconds=0.0))
        self._losses: list = []
        self._began = time.monotonic()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        if self.is_last_train_iter(runner):
            runner.model.keep_step = True

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        self._losses.append(outputs['loss'])
        if self.every_n_train_iters(runner, max(1, runner.max_iters // self._points)):
            self._curves['loss'][str(runner.iter + 1)] = float(sum(self._losses) / len(self._losses))
            self._losses = []
            self._save()
        self._report(runner.iter + 1, runner.max_iters)
        if self.is_last_train_iter(runner):
            kept = {name: part.numpy() for name, part in runner.model.kept_step.items()}
            np.savez_compressed(self._folder / LAST_STEP, **kept)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._curves['miou'][str(runner.iter)] = float(metrics['mIoU'])
        self._save()

    def _save(self) -> None:
        now = time.monotonic()
        self._curves['seconds'] += now - self._began
        self._began = now
        write_json(self._folder / CURVES, self._curves)


def recorded_seconds(folder: Path) -> float:
    """Returns the time that a training took, all its parts together if it was stopped in between."""
    return read_json(folder / CURVES, {})['seconds']


def read_curve(folder: Path, name: str, offset: int = 0) -> list[tuple[float, float]]:
    """Returns the recorded points (iteration + offset, value) of ``'loss'`` or ``'miou'`` in order."""
    points = read_json(folder / CURVES, {})[name]
    return sorted((int(iteration) + offset, value) for iteration, value in points.items() if value is not None)
