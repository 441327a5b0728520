"""Records curves of a training in a file, by iteration, so that a resumed training completes them."""
import time
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..progress import Progress
from ..json_files import read_json, write_json

CURVES = 'curves.json'
_POINTS = 60
_RECORDED = dict(loss='loss', confident_share='mix.confident_share')


class RecordingHook(Hook):
    """Shows the progress of a training and records its curves and its time.

    Args:
        folder: Work dir of the training.
        stage: Its name in the progress.
        progress: Shows it.
    """

    def __init__(self, folder: Path, stage: str, progress: Progress) -> None:
        self._folder, self._stage, self._progress = folder, stage, progress
        self._curves = read_json(folder / CURVES, dict(loss={}, confident_share={}, miou={}, seconds=0.0))
        self._since: dict[str, list[float]] = {name: [] for name in _RECORDED}
        self._began = time.monotonic()

    def before_train(self, runner: Runner) -> None:
        self._progress.start(self._stage)
        self._began = time.monotonic()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        for name, key in _RECORDED.items():
            if key in outputs:
                self._since[name].append(float(outputs[key]))
        if self.every_n_train_iters(runner, max(1, runner.max_iters // _POINTS)):
            for name, values in self._since.items():
                if values:
                    self._curves[name][str(runner.iter + 1)] = sum(values) / len(values)
            self._since = {name: [] for name in _RECORDED}
            self._save()
        self._progress.update(self._stage, runner.iter + 1, runner.max_iters, 'iterations')

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._curves['miou'][str(runner.iter)] = float(metrics['mIoU'])
        self._save()

    def after_train(self, runner: Runner) -> None:
        self._save()
        if runner.iter >= runner.max_iters:
            self._progress.finish(self._stage, f'{runner.max_iters} iterations in {self._folder}')

    def _save(self) -> None:
        now = time.monotonic()
        self._curves['seconds'] += now - self._began
        self._began = now
        write_json(self._folder / CURVES, self._curves)


def recorded_seconds(folder: Path) -> float:
    """Returns the time that a training took, all its parts together if it was stopped in between."""
    return read_json(folder / CURVES, dict(seconds=0.0))['seconds']


def read_curve(folder: Path, name: str, offset: int = 0) -> list[tuple[float, float]]:
    """Returns the recorded points (iteration + offset, value) of a curve in order."""
    points = read_json(folder / CURVES, {}).get(name, {})
    return sorted((int(iteration) + offset, value) for iteration, value in points.items() if value is not None)
