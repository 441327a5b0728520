"""Rare class sampling: draw a class, the rarer the likelier, then a source file that shows it.

Source: DAFormer (Hoyer et al., CVPR 2022), section 3.3.
"""
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine import fileio
from torch.utils.data import Dataset

from ..ignore_index import IGNORE_INDEX
from .weighted_datasets import WeightedConcatDataset
from .wrapped_datasets import ignore_index_of, is_local, original, parts, storage_of

STATS_FILE = 'sample_class_stats.json'


def class_probabilities(pixel_counts: Mapping[int, float], temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Computes how likely each class is drawn: softmax of (1 - frequency) / temperature.

    Args:
        pixel_counts: Class id -> number of pixels in all labels. A class with 0 pixels is never drawn.
        temperature: Above 0; infinite for equal probabilities.

    Returns:
        Class ids by ascending frequency (int64) and their probabilities (float64, sum 1).
    """
    present = sorted((count, class_id) for class_id, count in pixel_counts.items() if count > 0)
    counts = np.array([count for count, _ in present], dtype=np.float64)
    logits = (1 - counts / counts.sum()) / temperature
    weights = np.exp(logits - logits.max())
    return np.array([class_id for _, class_id in present], dtype=np.int64), weights / weights.sum()


class RareClassSampling:
    """Draws a class and an index of a file that shows it.

    Args:
        stats: One entry a label file, ``{"<class id>": pixels, ..., "file": path}``.
        indices: Index in the dataset of each entry; a file that is repeated has an entry for each time.
        class_names: Names by class id, for messages.
        min_pixels: A file counts for a class if it has more pixels of it than this, at native resolution.
        class_temp: Temperature of :func:`class_probabilities`.
        min_crop_ratio: A crop shows enough of the class with more than ``min_pixels * min_crop_ratio`` pixels of
            it; 0 takes every crop.
        weights: How often each entry's file is drawn without classes, relative to the others; classes are as rare as
            such draws show them. None: all alike.

    Raises:
        ValueError: If a value is out of range, or no file has more than ``min_pixels`` of some class.
    """

    def __init__(self, stats: Sequence[dict], indices: Sequence[int], class_names: Sequence[str],
                 min_pixels: int = 3000, class_temp: float = 0.01, min_crop_ratio: float = 0.5,
                 weights: Sequence[float] | None = None) -> None:
        if min_pixels < 0 or min_crop_ratio < 0 or not class_temp > 0:
            raise ValueError(f'rare_class_sampling has min_pixels={min_pixels}, min_crop_ratio={min_crop_ratio}, '
                             f'class_temp={class_temp}: the first two must be 0 or more, the last above 0')
        self.crop_pixels = min_pixels * min_crop_ratio
        counts = [{int(k): int(v) for k, v in entry.items() if k != 'file'} for entry in stats]
        totals: dict[int, float] = {}
        for entry, weight in zip(counts, weights or [1] * len(counts)):
            for class_id, pixels in entry.items():
                totals[class_id] = totals.get(class_id, 0) + weight * pixels
        _refuse_unknown_classes(totals, class_names)
        self.classes, self.probabilities = class_probabilities(totals, class_temp)
        self.files = [np.array([index for index, entry in zip(indices, counts) if entry.get(class_id, 0) > min_pixels],
                               dtype=np.int64) for class_id in self.classes.tolist()]
        self.weights = None if weights is None else dict(zip(indices, weights))
        empty = [class_id for class_id, files in zip(self.classes.tolist(), self.files) if not len(files)]
        if empty:
            best = {class_names[c]: max(entry.get(c, 0) for entry in counts) for c in empty}
            raise ValueError(f'no source label has more than min_pixels={min_pixels} pixels of some classes; the most '
                             f'in one file: {best}. Lower rare_class_sampling.min_pixels below '
                             f'{min(best.values())} (3000 suits images of about 2000x1000 pixels)')

    @classmethod
    def of_dataset(cls, dataset: Dataset, stats: str | None = None, **settings: Any) -> 'RareClassSampling':
        """Reads the statistics of a dataset, made by ``tools/dataset_converters/rare_class_stats.py``.

        Args:
            dataset: The source dataset.
            stats: Statistics file on the disk; ``sample_class_stats.json`` in the ``data_root`` of the dataset, or of
                the first dataset in it, if None.
            **settings: ``min_pixels``, ``class_temp``, ``min_crop_ratio``.

        Raises:
            ValueError: If the file is missing, damaged, or made from other label files than the dataset has.
        """
        if not isinstance(dataset, WeightedConcatDataset):
            drawn = _entries_of(dataset, stats)
            return cls([entry for entry, _ in drawn], [index for _, index in drawn], dataset.metainfo['classes'],
                       **settings)
        if stats is not None:
            raise ValueError('rare_class_sampling.stats names one file, but each dataset of a WeightedConcatDataset has '
                             'its own: remove it, and keep sample_class_stats.json in each data_root')
        entries, indices, weights = [], [], []
        for part, share, end in zip(dataset.datasets, dataset.shares.tolist(), dataset.cumulative_sizes):
            for entry, index in _entries_of(part, None):
                entries.append(entry)
                indices.append(end - len(part) + index)
                weights.append(share / len(part))
        return cls(entries, indices, dataset.metainfo['classes'], weights=weights, **settings)

    def draw(self, generator: np.random.Generator) -> tuple[int, int]:
        """Draws a class id and the index of a file with more than ``min_pixels`` pixels of it."""
        place = generator.choice(len(self.classes), p=self.probabilities)
        files = self.files[place]
        if self.weights is None:
            return int(self.classes[place]), int(generator.choice(files))
        weights = np.array([self.weights[index] for index in files.tolist()])
        return int(self.classes[place]), int(generator.choice(files, p=weights / weights.sum()))

    def enough(self, pixels: int) -> bool:
        """Tells whether a crop with so many pixels of the drawn class can be used."""
        return self.crop_pixels == 0 or bool(pixels > self.crop_pixels)


def _entries_of(dataset: Dataset, stats: str | None) -> list[tuple[dict, int]]:
    """Reads the statistics of a dataset: an entry and the index of its file, one pair for each time it is repeated."""
    command = _stats_command(dataset, stats)
    path, storage = (stats, None) if stats else (_default_path(dataset), storage_of(dataset))
    entries = list({entry['file']: entry for entry in _read_stats(path, storage, command)}.values())
    places: dict[str, list[int]] = {}
    for index in range(len(dataset)):
        part, place = original(dataset, index)
        label = part.get_data_info(place).get('seg_map_path')
        if label is None:
            raise ValueError('rare_class_sampling needs labels: set data_prefix.seg_map_path of the source dataset')
        places.setdefault(label, []).append(index)
    labels = list(places)
    matches = match_files([entry['file'] for entry in entries], labels)
    _refuse_stale(path, entries, matches, labels, command)
    return [(entry, index) for entry, match in zip(entries, matches) for index in places[labels[match]]]


def match_files(wanted: Sequence[str], labels: Sequence[str]) -> list[int | None]:
    """Finds files of the statistics among the label files of a dataset, which may have moved to another folder.

    Args:
        wanted: Paths in the statistics.
        labels: Paths in the dataset.

    Returns:
        For each wanted path the index of the label with the same name and, where a name is not unique, the most
        parent folders in common; None if there is none or two are equally alike.
    """
    by_name: dict[str, list[int]] = {}
    parts = [_parts(label) for label in labels]
    for index, label in enumerate(parts):
        by_name.setdefault(label[-1], []).append(index)
    matches: list[int | None] = []
    for path in map(_parts, wanted):
        found = by_name.get(path[-1], [])
        shared = sorted(((_common_end(path, parts[i]), i) for i in found), reverse=True)
        unique = len(shared) == 1 or (len(shared) > 1 and shared[0][0] > shared[1][0])
        matches.append(shared[0][1] if unique else None)
    return matches


def _parts(path: str) -> list[str]:
    return path.replace('\\', '/').split('/')


def _common_end(left: list[str], right: list[str]) -> int:
    pairs = list(zip(reversed(left), reversed(right)))
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))


def _default_path(dataset: Dataset) -> str:
    folder = getattr(parts(dataset)[0], 'data_root', None) or ''
    return fileio.join_path(folder, STATS_FILE, backend_args=storage_of(dataset))


def _read_stats(path: str, storage: dict | None, command: str) -> list[dict]:
    if not fileio.isfile(path, backend_args=storage):
        raise ValueError(f'rare_class_sampling needs the class statistics of the source labels, and {path} does not '
                         f'exist. Compute them once with: {command}')
    try:
        entries = json.loads(fileio.get_text(path, backend_args=storage))
        valid = isinstance(entries, list) and entries and all(isinstance(e.get('file'), str) for e in entries)
    except (ValueError, AttributeError) as error:
        raise ValueError(f'{path} is damaged ({error}). Compute the statistics again: {command}') from error
    if not valid:
        raise ValueError(f'{path} is not a list of class statistics with a "file" in each entry. Compute the '
                         f'statistics again: {command}')
    return entries


def _stats_command(dataset: Dataset, stats: str | None) -> str:
    program = 'python tools/dataset_converters/rare_class_stats.py'
    held, first = parts(dataset), parts(dataset)[0]
    folder = (getattr(first, 'data_prefix', None) or {}).get('seg_map_path') or 'LABEL_FOLDER'
    path = stats or _default_path(dataset)
    as_stored = not getattr(first, 'reduce_zero_label', False) and not getattr(first, 'label_map', None) and (
        ignore_index_of(dataset) == IGNORE_INDEX)
    if len(held) > 1 or not as_stored or not is_local(folder, storage_of(dataset)):
        where = '' if is_local(path, None if stats else storage_of(dataset)) else (
            ' --out FOLDER, and set rare_class_sampling.stats to the file in it')
        return f'{program} CONFIG{where}'
    return (f"{program} --labels {shlex.quote(folder)} --suffix {getattr(first, 'seg_map_suffix', '.png')} "
            f'--out {shlex.quote(os.path.dirname(path) or ".")}')


def _refuse_stale(path: str, entries: list[dict], indices: list[int | None], labels: list[str], command: str) -> None:
    unknown = [entry['file'] for entry, index in zip(entries, indices) if index is None]
    known = {index for index in indices if index is not None}
    missing = [label for index, label in enumerate(labels) if index not in known]
    for problem, files in (('names files that the source dataset does not have', unknown),
                           ('lacks files of the source dataset', missing)):
        if files:
            more = f' and {len(files) - 3} more' if len(files) > 3 else ''
            raise ValueError(f'{path} {problem}: {", ".join(files[:3])}{more}. It was made from other data; compute '
                             f'the statistics again: {command}')


def _refuse_unknown_classes(totals: Mapping[int, float], class_names: Sequence[str]) -> None:
    unknown = sorted(c for c in totals if not 0 <= c < len(class_names))
    if unknown or not any(totals.values()):
        raise ValueError(f'the class statistics have the ids {unknown or "of no class at all"}, the dataset has the '
                         f'{len(class_names)} classes {tuple(class_names)}: the labels are not converted to training '
                         'ids. Look at them with tools/dataset_converters/check_dataset.py')
