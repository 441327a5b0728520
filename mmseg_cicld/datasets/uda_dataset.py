"""Pairs of a labelled source image and an unlabelled target image, drawn by key."""
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from ..random_streams import KeyedStreams, seeded_globals
from .domain import Domain, build_dataset, domain_folders
from .file_reading import DataFileError
from .rare_class_sampling import RareClassSampling
from .sample_reading import Draw
from .translated_source import TranslatedSource
from .weighted_datasets import WeightedConcatDataset, WeightedOrder

MAX_RECROPS = 10


class DrawKey(NamedTuple):
    """Names one draw of a run: its seed and its position in the stream that all processes share."""

    seed: int
    position: int


@DATASETS.register_module()
class UDADataset(Dataset):
    """Gives for a :class:`DrawKey` one source sample and one target sample.

    Whatever is random (which files, crops, flips and all other transforms) follows from the key alone, so the
    result does not depend on the number of workers or on what was drawn before. Use it with the sampler
    ``KeyedInfiniteSampler``; with plain indices a sample would be augmented alike in every epoch.

    Without rare class sampling every epoch goes through each dataset once in its own new order. With it, a class
    is drawn (the rarer, the likelier), then a file that has it, then a crop that shows enough of it (DAFormer,
    Hoyer et al., CVPR 2022); the target image is drawn uniformly. Several sources or targets are one
    :class:`WeightedConcatDataset`, whose shares hold for both.

    Args:
        source: Config of a dataset with labels.
        target: Config of a dataset, labels not needed and never used. None trains on the source alone.
        rare_class_sampling: ``dict(min_pixels=3000, class_temp=0.01, min_crop_ratio=0.5, stats=None)``,
            see :class:`RareClassSampling`. None: off.
        translated: ``dict(data_root=..., share=0.5)``, translations of the source images that take their place in
            that share of the draws, see :class:`TranslatedSource`. None: off.
        cache: Folder of ``tools/dataset_converters/cache_dataset.py``, from which images are read instead of from their
            files. None: off.

    Raises:
        ValueError: If the two datasets have other classes, ignore index or ``reduce_zero_label``, or one is empty.
    """

    def __init__(self, source: dict, target: dict | None = None, rare_class_sampling: dict | None = None,
                 translated: dict | None = None, cache: str | None = None) -> None:
        folders = domain_folders(cache)
        self.source = Domain(build_dataset(source, 'source'), 'source', folders['source'])
        self.target = None if target is None else Domain(build_dataset(target, 'target'), 'target', folders['target'])
        self._translated = (None if translated is None else
                            TranslatedSource(self.source, source, cache=folders['translated'], **translated))
        if not self.source.classes:
            raise ValueError('the source dataset has no classes: set metainfo=dict(classes=[...]) of '
                             'train_dataloader.dataset.source')
        if self.target is not None:
            _refuse_different_labels(self.source, self.target)
        self._source_order = _order('source_order', self.source.dataset)
        self._target_order = None if self.target is None else _order('target_order', self.target.dataset)
        self.rare_classes = (None if rare_class_sampling is None
                             else RareClassSampling.of_dataset(self.source.dataset, **rare_class_sampling))

    @property
    def domains(self) -> dict[str, Domain]:
        """All that images are read from, by the names of their folders in a cache."""
        translated = None if self._translated is None else self._translated.translated
        named = dict(source=self.source, target=self.target, translated=translated)
        return {name: domain for name, domain in named.items() if domain is not None}

    @property
    def metainfo(self) -> dict:
        """Classes and palette, as the source dataset has them."""
        return self.source.dataset.metainfo

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: DrawKey | int) -> dict:
        """Returns ``dict(source=..., target=...)``, each with ``inputs`` (uint8 [3, H, W], BGR) and ``data_samples``.

        Args:
            key: What to draw; an index i within the length stands for ``DrawKey(0, i)``.
        """
        if not isinstance(key, tuple):
            if not 0 <= key < len(self):
                raise IndexError(f'index {key} is outside [0, {len(self)})')
            key = DrawKey(0, int(key))
        streams, position = KeyedStreams(key[0]), key[1]
        item = dict(source=self._source_sample(streams, position))
        if self.target is not None:
            item['target'] = self._target_sample(streams, position)
        return item

    def _source_sample(self, streams: KeyedStreams, position: int) -> dict:
        if self.rare_classes is None:
            read = self._source_reader(self._source_order(streams, position), streams, position)
            return self._read_source(read, streams, position)
        class_id, index = self.rare_classes.draw(streams.numpy('data.rare_class', position))
        read = self._source_reader(index, streams, position)
        for attempt in range(MAX_RECROPS):
            sample = self._read_source(read, streams, position, attempt, class_id)
            if sample is not None:
                return sample
        return self._read_source(read, streams, position, MAX_RECROPS)  # used whether or not it shows enough

    def _source_reader(self, index: int, streams: KeyedStreams, position: int) -> Callable[[], Draw]:
        if self._translated is None:
            return self.source.reader(index)
        return self._translated.reader(index, streams, position)

    def _read_source(self, read: Callable[[], Draw], streams: KeyedStreams, position: int, attempt: int = 0,
                     class_id: int | None = None) -> dict | None:
        """Draws a crop; returns None if it shows too little of the class."""
        with seeded_globals(streams.integer('data.source_transforms', position, attempt)):
            draw = read()
            if draw.counts is not None and not self._enough(draw.counts, class_id) and not self._unknown(draw.counts):
                return None
            sample = draw.finish()
        self._check_label(sample)
        counts = _counts(sample) if draw.counts is None else draw.counts
        self._refuse_ids(sample, self._unknown(counts))
        return sample if self._enough(counts, class_id) else None

    def _enough(self, counts: Mapping[int, int], class_id: int | None) -> bool:
        return class_id is None or self.rare_classes.enough(counts.get(class_id, 0))

    def _unknown(self, counts: Mapping[int, int]) -> list[int]:
        return sorted(number for number in counts if number >= len(self.source.classes)
                      and number != self.source.ignore_index)

    def _check_label(self, sample: dict) -> None:
        file = _file(sample)
        if 'gt_sem_seg' not in sample['data_samples']:
            raise DataFileError(f'{file} comes without a label: the source pipeline needs LoadLabelStrictly and the '
                                'source dataset data_prefix.seg_map_path')
        label = sample['data_samples'].gt_sem_seg.data
        if label.shape != (1, *sample['inputs'].shape[1:]):
            raise DataFileError(f'the label of {file} has the shape {tuple(label.shape)} after the transforms, its '
                                f'image {tuple(sample["inputs"].shape)}: the label must have one number a pixel')

    def _refuse_ids(self, sample: dict, ids: list[int]) -> None:
        if ids:
            raise DataFileError(f'the label {_file(sample)} has the ids {ids[:10]}, allowed are 0 to '
                                f'{len(self.source.classes) - 1} and {self.source.ignore_index} (ignore): convert the '
                                'labels, or list all classes in metainfo.classes. To see all such files run '
                                'tools/dataset_converters/check_dataset.py')

    def _target_sample(self, streams: KeyedStreams, position: int) -> dict:
        if self.rare_classes is None or isinstance(self._target_order, WeightedOrder):
            index = self._target_order(streams, position)
        else:
            index = int(streams.numpy('data.target', position).integers(len(self.target)))
        with seeded_globals(streams.integer('data.target_transforms', position)):
            sample = self.target.reader(index)().finish()
        # No method may see a target label, not even by accident.
        if 'gt_sem_seg' in sample['data_samples']:
            del sample['data_samples'].gt_sem_seg
        return sample


def _file(sample: dict) -> str:
    metainfo = sample['data_samples'].metainfo
    return metainfo.get('seg_map_path') or metainfo.get('img_path', 'a source file')


def _counts(sample: dict) -> dict[int, int]:
    numbers, counts = sample['data_samples'].gt_sem_seg.data.unique(return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist()))


class KeyedOrder:
    """Goes through ``size`` indices in a new order in every epoch; position p belongs to epoch ``p // size``.

    Args:
        name: Name of the random stream.
        size: Number of indices.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size
        self._current: tuple[tuple[int, int], np.ndarray] | None = None

    def __call__(self, streams: KeyedStreams, position: int) -> int:
        """Returns the index at a position; any position can be asked for, in any order."""
        epoch, place = divmod(position, self.size)
        if self._current is None or self._current[0] != (streams.seed, epoch):
            self._current = (streams.seed, epoch), streams.numpy(f'data.{self.name}', epoch).permutation(self.size)
        return int(self._current[1][place])


def _order(name: str, dataset: Dataset) -> KeyedOrder | WeightedOrder:
    if isinstance(dataset, WeightedConcatDataset):
        return WeightedOrder(name, dataset)
    return KeyedOrder(name, len(dataset))


def _refuse_different_labels(source: Domain, target: Domain) -> None:
    if target.classes and source.classes != target.classes:
        raise ValueError(f'source and target have different classes: {source.classes} and {target.classes}. Give both '
                         'datasets the same metainfo.classes in the same order, or none to the target')
    for name in ('ignore_index', 'reduce_zero_label'):
        values = [getattr(domain.dataset, name, None) for domain in (source, target)]
        if None not in values and values[0] != values[1]:
            raise ValueError(f'source and target have different {name}: {values[0]} and {values[1]}. Set the same in '
                             'train_dataloader.dataset.source and .target')
