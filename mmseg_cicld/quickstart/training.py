"""Trains one stage of the quick start through its config, continuing where it was stopped."""
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

import mmseg_cicld

from ..engine import AdaptationRunner
from .options import QuickstartOptions

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
    runner.register_hook(_ProgressHook(report))
    runner.train()
    return folder / f'iter_{cfg.train_cfg.max_iters}.pth'


class _ProgressHook(Hook):
    """Tells after each iteration how far the training is."""

    def __init__(self, report: Callable[[int, int], None]) -> None:
        self._report = report

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        self._report(runner.iter + 1, runner.max_iters)
