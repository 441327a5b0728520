"""Records a training for its report: curves, what the target tells without labels, and pictures of steps."""
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce, get_rank, get_world_size, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from mmseg.evaluation import IoUMetric
from mmseg.models import BaseSegmentor
from mmseg.registry import HOOKS
from torch import Tensor, nn

from ..atomic_files import replacing
from .examples import EXAMPLES
from .run_facts import bare_model, run_facts
from .training_record import CURVES, FOLDER, LAST_STEP, TrainingRecord
from .training_report import write_training_report

STATE = 'report'  # key of a checkpoint
_SAMPLES, _PICTURES = 3, 6


@HOOKS.register_module()
class ReportHook(Hook):
    """Records what a report tells into ``WORK_DIR/report``, and writes ``WORK_DIR/report.html`` when a training ends.

    ``curves.json`` has the fields of :class:`TrainingRecord`, ``last_step.npz`` what the last step saw that was kept:
    six during a training, the last iteration among them. The record goes with each checkpoint, so that a resumed training
    completes it as if it had not been stopped. Losses are those of the first process; IoU and what the target
    tells are of all. Any model can be recorded; one that is no :class:`UDAWrapper` tells nothing of a target.

    Args:
        points: Values of each curve over the whole training, at least 1. At each of them the student predicts
            one target batch more, to be compared with the teacher.

    Raises:
        ValueError: If ``points`` is below 1.
    """

    priority = 'HIGH'  # before the hook that draws panels, which takes the step that both have asked for

    def __init__(self, points: int = 60) -> None:
        if points < 1:
            raise ValueError(f'ReportHook: points={points}, allowed are integers from 1. To record nothing, set '
                             'default_hooks.report=None')
        self.points = points
        self._record: Any = None  # a TrainingRecord from before_train on
        self._sums: dict[str, list] = {}
        self._areas: tuple[Tensor, Tensor] | None = None
        self._loaded: dict[str, Any] | None = None
        self._began = 0.0

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remembers the record of a checkpoint, which counts only if the training goes on there."""
        self._loaded = checkpoint.get(STATE)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Adds the record to a checkpoint."""
        if self._record is not None:
            self._count_time()
            sums = {name: [float(total), count] for name, (total, count) in self._sums.items()}
            checkpoint[STATE] = dict(record=self._record.plain(), sums=sums)

    def before_train(self, runner: Runner) -> None:
        """Begins the record, or goes on with that of the checkpoint."""
        state = self._loaded if runner.iter and self._loaded is not None else dict(record={}, sums={})
        self._record = TrainingRecord.of_plain(state['record']).until(runner.iter)
        self._sums = {name: list(pair) for name, pair in state['sums'].items()}
        self._loaded, self._began = None, time.monotonic()
        self._record.run = run_facts(runner)
        meta = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
        self._record.classes = list(meta.get('classes') or ())
        self._record.palette = [list(map(int, colour)) for colour in meta.get('palette') or ()]
        if is_main_process() and not runner.iter:
            for name in (CURVES, LAST_STEP, EXAMPLES):  # of another training in this folder
                (Path(runner.work_dir) / FOLDER / name).unlink(missing_ok=True)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Asks the model to keep what is due."""
        model = bare_model(runner.model)
        if hasattr(model, 'keep_step'):
            model.keep_statistics = self._is_due(runner, self.points)
            model.kept_step, model.keep_step = None, is_main_process() and self._is_due(runner, _PICTURES)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Adds the losses of an iteration; where a value is due, writes the record."""
        for name, value in (outputs or {}).items():
            if 'loss' in name and (isinstance(value, (int, float)) or (torch.is_tensor(value) and value.numel() == 1)):
                total, count = self._sums.get(name, (0.0, 0))
                # A value on a GPU stays there until it is due: reading it would wait for the step.
                self._sums[name] = [total + (value.detach().double() if torch.is_tensor(value) else value), count + 1]
        if self._is_due(runner, self.points):
            self._record_values(runner, data_batch)
            self._write(runner)
        if is_main_process() and self._is_due(runner, _PICTURES):
            _save_step(Path(runner.work_dir) / FOLDER / LAST_STEP, _step_pictures(bare_model(runner.model), data_batch))

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Adds up the areas of intersections and unions before the metric forgets them."""
        if self._record is not None and batch_idx + 1 == len(runner.val_dataloader):
            self._areas = _class_areas(runner.val_evaluator.metrics, len(runner.val_dataloader.dataset))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Records the scores of a validation."""
        if self._record is None:
            return
        found = [value for name, value in (metrics or {}).items() if name.split('/')[-1] == 'mIoU']
        if found:
            self._record.miou[runner.iter] = round(float(found[0]), 4)  # mmseg rounds to two in float32
        if self._areas is not None:
            intersection, union = self._areas
            self._record.iou[runner.iter] = [100 * part / whole if whole else None
                                             for part, whole in zip(intersection.tolist(), union.tolist())]
        self._areas = None
        self._write(runner)

    def after_train(self, runner: Runner) -> None:
        """Writes the report."""
        if hasattr(bare_model(runner.model), 'kept_step'):
            bare_model(runner.model).kept_step = None
        self._write(runner)
        if is_main_process():
            write_training_report(Path(runner.work_dir))

    def _is_due(self, runner: Runner, times: int) -> bool:
        return self.every_n_train_iters(runner, -(-runner.max_iters // times)) or self.is_last_train_iter(runner)

    def _record_values(self, runner: Runner, data_batch: Any) -> None:
        at, record = runner.iter + 1, self._record
        record.iterations = at
        record.run |= _data_facts(data_batch)
        for name, (total, count) in self._sums.items():
            record.losses.setdefault(name, {})[at] = float(total) / count
        self._sums = {}
        rates = {name.split('.')[-1]: values for name, values in runner.optim_wrapper.get_lr().items() if values}
        if rates:
            record.learning_rate[at] = float(rates[next(name for name in ('base_lr', 'lr') if name in rates)][0])
        model = bare_model(runner.model)
        for name, value in (getattr(model, 'kept_statistics', None) or {}).items():
            getattr(record, name)[at] = value.tolist()
        if hasattr(model, 'kept_statistics'):
            model.kept_statistics = None

    def _write(self, runner: Runner) -> None:
        self._count_time()
        if is_main_process():
            self._record.write(Path(runner.work_dir))

    def _count_time(self) -> None:
        now = time.monotonic()
        self._record.seconds += now - self._began
        self._began = now


def _data_facts(data_batch: Any) -> dict:
    """Tells whether there is a target, and the folder of an image: of the target, or else of what is trained on."""
    if not isinstance(data_batch, Mapping):
        return {}
    target = data_batch.get('target')
    samples = (target or data_batch.get('source') or data_batch).get('data_samples') or ()
    paths = [sample.metainfo.get('img_path') for sample in samples if isinstance(sample, BaseDataElement)][:1]
    images = {} if not paths or paths[0] is None else dict(images=str(Path(paths[0]).parent))
    return dict(target=target is not None, **images)


def _class_areas(metrics: Sequence[BaseMetric], images: int) -> tuple[Tensor, Tensor] | None:
    """Returns intersection and union of each class over the validation images of all processes.

    Samplers repeat images so that all processes have equally many; mmengine leaves out the last ones likewise.
    """
    metric = next((metric for metric in metrics if isinstance(metric, IoUMetric) and not metric.format_only), None)
    if metric is None:
        return None
    own = metric.results[:-(-(images - get_rank()) // get_world_size())]
    classes = len(metric.dataset_meta['classes'])
    # A process without an image of its own still takes part.
    areas = torch.zeros(2, classes, dtype=torch.float64)
    for result in own:
        areas += torch.stack(result[:2]).to(areas)
    all_reduce(areas)
    return areas[0], areas[1]


def _step_pictures(model: nn.Module, data_batch: Any) -> dict[str, np.ndarray]:
    """Returns what a step saw: of the wrapper what it kept, of an ordinary segmentor images and labels."""
    kept = getattr(model, 'kept_step', None)
    if kept is not None:
        return {name: part[:_SAMPLES].numpy() for name, part in kept.items()}
    if not isinstance(model, BaseSegmentor) or not isinstance(data_batch, Mapping):
        return {}
    pairs = list(zip(data_batch.get('inputs', ()), data_batch.get('data_samples', ())))
    # Images of a batch may differ in size until they are padded: those like the first can be put together.
    alike = [(image, sample) for image, sample in pairs
             if image.shape == pairs[0][0].shape and image.dtype == torch.uint8 and len(image) == 3][:_SAMPLES]
    if not alike:
        return {}
    pictures = dict(source_image=np.stack([image.flip(0).cpu().numpy() for image, _ in alike]))
    if all('gt_sem_seg' in sample for _, sample in alike):
        pictures['source_label'] = np.stack([sample.gt_sem_seg.data[0].cpu().numpy() for _, sample in alike])
    return pictures


def _save_step(path: Path, pictures: Mapping[str, np.ndarray]) -> None:
    if not pictures:
        return
    small: dict[str, Any] = {name: part.astype(np.float16 if part.dtype.kind == 'f' else np.uint8)
                             for name, part in pictures.items()}
    with replacing(path) as temporary, temporary.open('wb') as stream:
        np.savez_compressed(stream, **small)
