"""Looks at data files before training: what would stop a run, or spoil it in silence."""
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from mmengine.config import Config
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from PIL import Image
from prettytable import PrettyTable
from torch.utils.data import Dataset

from .class_statistics import IGNORE, run_parallel
from .domain import build_dataset, class_ids_as_trained
from .file_reading import DataFileError, check_same_size, read_image, read_label
from .uda_dataset import UDADataset
from .unlabelled_dataset import DOMAINS

TRAINING_SAMPLE = 16
ALL_IGNORE = 'all-ignore'


@dataclass(frozen=True)
class Finding:
    """One fault: what kind, in which file, and a sentence with the fix."""

    kind: str
    file: str
    message: str

    @property
    def text(self) -> str:
        """The sentence with the file in it."""
        return self.message if self.file in self.message else f'{self.file} {self.message}'


@dataclass
class AuditReport:
    """What an audit found.

    Args:
        name: Which dataset.
        total: Number of its samples.
        checked: Number of samples that were looked at.
        class_names: Classes by id; empty if labels were not looked at.
        pixels: Pixels of each training id over the checked labels, 255 included.
        palette_files: Number of palette PNGs; their palette indices are taken as class ids.
        findings: Faults.
    """

    name: str
    total: int
    checked: int
    class_names: Sequence[str] = ()
    pixels: dict[int, int] = field(default_factory=dict)
    palette_files: int = 0
    findings: list[Finding] = field(default_factory=list)

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
            for class_id, name in [*enumerate(self.class_names), (IGNORE, '(ignore)')]:
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
                  with_labels: bool = True, show_progress: bool = False) -> AuditReport:
    """Looks at the files of a dataset.

    Args:
        dataset: Any dataset whose ``get_data_info`` gives ``img_path`` and ``seg_map_path``.
        max_files: Look at this many samples, evenly spread from the first to the last; None for all.
        nproc: Number of processes.
        name: How the report calls the dataset.
        with_labels: Whether labels are wanted; without, only the images are looked at.
        show_progress: Whether to show a progress bar.

    Returns:
        The report; nothing is raised for faulty files.
    """
    total = len(dataset)
    count = total if max_files is None else min(max_files, total)
    chosen = np.unique(np.linspace(0, total - 1, count).round().astype(int)) if count else []
    infos = [dict(dataset.get_data_info(int(i))) for i in chosen]
    classes = tuple(dataset.metainfo.get('classes') or ())
    check = partial(audit_sample, num_classes=len(classes), with_labels=with_labels)
    if (show_progress or nproc > 1) and infos:
        samples = run_parallel(check, infos, nproc, f'Checking {name}')
    else:
        samples = [check(info) for info in infos]
    report = AuditReport(name, total, len(infos), classes if with_labels else ())
    pixels: Counter = Counter()
    for findings, counts, palette in samples:
        report.findings += findings
        report.palette_files += palette
        pixels.update(counts)
    report.pixels = dict(pixels)
    _find_binary_masks(report, infos)
    return report


def audit_sample(info: dict, num_classes: int, with_labels: bool) -> tuple[list[Finding], dict[int, int], bool]:
    """Looks at one image and its label; returns findings, pixels by training id, and whether it is a palette PNG."""
    image_path, label_path = info['img_path'], info.get('seg_map_path')
    findings, image, palette = [], None, False
    try:
        image = read_image(image_path)
    except DataFileError as error:
        findings.append(Finding('missing' if not os.path.exists(image_path) else 'image', image_path, str(error)))
    if not with_labels:
        return findings, {}, False
    if label_path is None:
        return [*findings, Finding('missing', image_path, 'has no label: set data_prefix.seg_map_path')], {}, False
    try:
        label_HW = read_label(label_path)
        with Image.open(label_path) as file:
            palette = file.mode == 'P'
        if image is not None:
            check_same_size(image_path, image.shape[:2], label_path, label_HW.shape)
    except DataFileError as error:
        kind = 'missing' if not os.path.exists(label_path) else 'size' if 'must be equal' in str(error) else 'label'
        return [*findings, Finding(kind, label_path, str(error))], {}, palette
    counts = dict(zip(*(part.tolist() for part in np.unique(class_ids_as_trained(label_HW, info),
                                                             return_counts=True))))
    return findings + _find_ids(label_path, counts, num_classes, palette), counts, palette


def _find_ids(path: str, counts: dict[int, int], num_classes: int, palette: bool) -> list[Finding]:
    outside = [class_id for class_id in counts if num_classes <= class_id != IGNORE]
    note = ' (a palette PNG: its palette indices are taken as ids)' if palette else ''
    if outside:
        return [Finding('ids', path, f'has the ids {outside[:10]}{note}, allowed are 0 to {num_classes - 1} and '
                        f'{IGNORE} (ignore): convert the labels to training ids, or list all classes in '
                        'metainfo.classes')]
    if set(counts) == {IGNORE}:
        return [Finding(ALL_IGNORE, path, f'every pixel is {IGNORE} (ignore): nothing can be learned from it. Remove '
                        'it with its image, or convert its labels')]
    return []


def _find_binary_masks(report: AuditReport, infos: list[dict]) -> None:
    if len(report.class_names) > 1 and set(report.pixels) == {0, IGNORE}:
        report.findings.append(Finding(
            '0/255 masks', infos[0].get('seg_map_path', ''),
            f'all {report.checked} checked labels hold only 0 and 255. 255 means ignore, so the other '
            f'{len(report.class_names) - 1} classes are never learned: write 1 in place of 255 in binary masks'))


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
    reports = [audit_dataset(dataset, max_files, name=name, with_labels=with_labels)
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
    """Builds a dataset that only lists its files; ``name`` is for messages."""
    plain = issubclass(DATASETS.get(config['type']) or object, BaseSegDataset)
    return build_dataset(dict(config, pipeline=[]) if plain else config, name)


def _refuse_other_sampler(dataloader: dict) -> None:
    sampler = (dataloader.get('sampler') or {}).get('type')
    if sampler != 'KeyedInfiniteSampler':
        raise ValueError(f'{dataloader["dataset"]["type"]} is used with the sampler {sampler}, so every epoch would '
                         "repeat the same crops and flips: set train_dataloader.sampler=dict(type='KeyedInfiniteSampler')")
