"""Looks at data files before training: what would stop a run, or spoil it in silence."""
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from mmengine.config import Config
from prettytable import PrettyTable
from torch.utils.data import Dataset

from ..ignore_index import IGNORE_INDEX
from .class_statistics import run_parallel
from .domain import build_dataset
from .loading import LABEL_LOADERS, Loading
from .sample_audit import ALL_BITS, ALL_IGNORE, FEW_BITS, Finding, SampleAudit, audit_sample
from .uda_dataset import UDADataset
from .unlabelled_dataset import DOMAINS
from .wrapped_datasets import ignore_index_of, map_leaves, original

TRAINING_SAMPLE = 16


@dataclass
class AuditReport:
    """What an audit found.

    Args:
        name: Which dataset.
        total: Number of its samples.
        checked: Number of samples that were looked at.
        class_names: Classes by id; empty if labels were not looked at.
        pixels: Pixels of each training id over the checked labels, ignored ones included.
        palette_files: Number of palette PNGs; their palette indices are taken as class ids.
        findings: Faults.
        ignore_index: Training id of pixels that are not trained on.
    """

    name: str
    total: int
    checked: int
    class_names: Sequence[str] = ()
    pixels: dict[int, int] = field(default_factory=dict)
    palette_files: int = 0
    findings: list[Finding] = field(default_factory=list)
    ignore_index: int = IGNORE_INDEX

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def blocking(self) -> list[Finding]:
        """Findings that make training fail or worthless; single all-ignore labels only waste a step."""
        others = [finding for finding in self.findings if finding.kind != ALL_IGNORE]
        return others if len(self.findings) - len(others) < self.checked else self.findings

    def table(self) -> str:
        """Returns the classes with their pixels and the findings, one a line."""
        lines = [f'{self.name}: {self.checked} of {self.total} samples checked, {len(self.findings)} faults']
        if self.pixels:
            total = sum(self.pixels.values())
            table = PrettyTable(['id', 'class', 'pixels', '%'], align='r')
            for class_id, name in [*enumerate(self.class_names), (self.ignore_index, '(ignore)')]:
                count = self.pixels.get(class_id, 0)
                table.add_row([class_id, name, count, f'{100 * count / total:.3f}'])
            lines.append(table.get_string())
        if self.palette_files:
            lines.append(f'{self.palette_files} labels are palette PNGs: their palette indices are taken as class ids')
        if self.findings:
            table = PrettyTable(['fault', 'files'], align='l')
            for kind, count in Counter(finding.kind for finding in self.findings).items():
                table.add_row([kind, count])
            lines += [table.get_string(), *(f'- {finding.kind}: {finding.text}' for finding in self.findings)]
        return '\n'.join(lines)


def audit_dataset(dataset: Dataset, max_files: int | None = None, nproc: int = 1, name: str = 'dataset',
                  with_labels: bool = True, show_progress: bool = False, channels: int | None = None) -> AuditReport:
    """Looks at the files of a dataset.

    Args:
        dataset: Any dataset whose ``get_data_info`` gives ``img_path`` and ``seg_map_path``.
        max_files: Look at this many samples, evenly spread from the first to the last; None for all.
        nproc: Number of processes.
        name: How the report calls the dataset.
        with_labels: Whether labels are wanted; without, only the images are looked at.
        show_progress: Whether to show a progress bar.
        channels: How many channels the network takes; None for those of the first image.

    Returns:
        The report; nothing is raised for faulty files.
    """
    total = len(dataset)
    count = total if max_files is None else min(max_files, total)
    chosen = np.unique(np.linspace(0, total - 1, count).round().astype(int)) if count else []
    places = [original(dataset, int(i)) for i in chosen]
    tasks = [(dict(part.get_data_info(place)), Loading.of(part)) for part, place in places]
    classes, ignore_index = tuple(dataset.metainfo.get('classes') or ()), ignore_index_of(dataset)
    check = partial(_audit_task, num_classes=len(classes), with_labels=with_labels, ignore_index=ignore_index)
    if (show_progress or nproc > 1) and tasks:
        samples = run_parallel(check, tasks, nproc, f'Checking {name}')
    else:
        samples = [check(task) for task in tasks]
    report = AuditReport(name, total, len(tasks), classes if with_labels else (), ignore_index=ignore_index)
    pixels: Counter = Counter()
    for sample in samples:
        report.findings += sample.findings
        report.palette_files += sample.palette
        pixels.update(sample.counts)
    report.pixels = dict(pixels)
    files = [info for info, _ in tasks]
    _allow_dark_images(report, samples)
    _find_channels(report, samples, files, channels)
    _find_binary_masks(report, files)
    return report


def _audit_task(task: tuple[dict, Loading], num_classes: int, with_labels: bool, ignore_index: int) -> SampleAudit:
    info, loading = task
    return audit_sample(info, num_classes, with_labels, loading, ignore_index)


def _allow_dark_images(report: AuditReport, samples: list[SampleAudit]) -> None:
    """Where other files use all 16 bits, one that does not is a dark image."""
    if any(sample.bits == ALL_BITS for sample in samples):
        report.findings = [finding for finding in report.findings if finding.kind != FEW_BITS]


def _find_channels(report: AuditReport, samples: list[SampleAudit], files: list[dict], wanted: int | None) -> None:
    found = [sample.channels for sample in samples]
    first = next((number for number in found if number is not None), None)
    for number, info in zip(found, files):
        if number is not None and number != (wanted or first):
            needed = ('as data_preprocessor.mean of the model has' if wanted else 'as other images have')
            report.findings.append(Finding(
                'channels', info['img_path'], f'is loaded with {number} channels, not {wanted or first} {needed}: set '
                'color_type of LoadImageStrictly in the pipeline (color, grayscale, unchanged), or mean and std of '
                'data_preprocessor and in_channels of the backbone'))


def _find_binary_masks(report: AuditReport, files: list[dict]) -> None:
    ignored = report.ignore_index
    if len(report.class_names) > 1 and set(report.pixels) == {0, ignored}:
        report.findings.append(Finding(
            f'0/{ignored} masks', files[0].get('seg_map_path', ''),
            f'all {report.checked} checked labels hold only 0 and {ignored}. {ignored} means ignore, so the other '
            f'{len(report.class_names) - 1} classes are never learned: write 1 in place of {ignored} in binary masks'))


def audit_train_datasets(data: Config | dict | UDADataset, max_files: int = TRAINING_SAMPLE) -> list[AuditReport]:
    """Audits a sample of the training and validation data; to be called before training starts.

    Args:
        data: The whole config, or a built ``UDADataset``.
        max_files: Samples to look at in each dataset.

    Returns:
        One report a dataset, of which the caller may log :meth:`AuditReport.table`.

    Raises:
        ValueError: With all findings and their fixes if a dataset cannot be trained on or evaluated with.
    """
    channels = None if isinstance(data, UDADataset) else _channels_of_model(data.get('model') or {})
    reports = [audit_dataset(dataset, max_files, name=name, with_labels=with_labels, channels=channels)
               for name, dataset, with_labels in training_datasets(data)]
    faulty = [finding for report in reports for finding in report.blocking]
    if faulty:
        shown = '\n'.join(f'- {finding.kind}: {finding.text}' for finding in faulty[:10])
        raise ValueError(f'the data cannot be used as it is; a look at a few files found {len(faulty)} faults:\n'
                         f'{shown}\n'
                         'To look at all files run: python tools/dataset_converters/check_dataset.py CONFIG')
    return reports


def training_datasets(data: Config | dict | UDADataset) -> list[tuple[str, Dataset, bool]]:
    """Lists name, dataset and whether its labels are used, for all training and validation data of a config."""
    if isinstance(data, UDADataset):
        target = [] if data.target is None else [('target', data.target.dataset, False)]
        return [('source', data.source.dataset, True), *target]
    train = data['train_dataloader']['dataset']
    if train['type'] == 'UDADataset':
        _refuse_other_sampler(data['train_dataloader'])
        found = [('source', build_without_pipeline(train['source'], 'source'), True)]
        if train.get('target') is not None:
            found.append(('target', build_without_pipeline(train['target'], 'target'), False))
    elif train['type'] == 'UnlabelledDataset':
        _refuse_other_sampler(data['train_dataloader'])
        found = [(name, build_without_pipeline(train[name], name), False) for name in DOMAINS if train.get(name)]
    else:
        found = [('training', build_without_pipeline(train, 'training'), True)]
    if data.get('val_dataloader'):
        found.append(('validation', build_without_pipeline(data['val_dataloader']['dataset'], 'validation'), True))
    return found


def build_without_pipeline(config: dict, name: str) -> Dataset:
    """Builds a dataset that only lists its files and knows how they are loaded; ``name`` is for messages."""
    return build_dataset(map_leaves(config, _loading_alone), name)


def _loading_alone(config: dict) -> dict:
    pipeline = config.get('pipeline') or ()
    return dict(config, pipeline=[step for place, step in enumerate(pipeline) if place == 0 or (isinstance(step, dict)
                                  and step.get('type') in LABEL_LOADERS)])


def _channels_of_model(model: dict) -> int | None:
    while 'segmentor' in model:
        model = model['segmentor']
    mean = (model.get('data_preprocessor') or {}).get('mean') or ()
    return len(mean) if len(mean) > 1 else None  # one mean serves any number of channels


def _refuse_other_sampler(dataloader: dict) -> None:
    sampler = (dataloader.get('sampler') or {}).get('type')
    if sampler != 'KeyedInfiniteSampler':
        raise ValueError(f'{dataloader["dataset"]["type"]} is used with the sampler {sampler}, so every epoch would '
                         "repeat the same crops and flips: set train_dataloader.sampler=dict(type='KeyedInfiniteSampler')")
