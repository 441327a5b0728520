"""One side of the adaptation: a dataset that is built, checked, and read with an error that names the file."""
import copy
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import cv2
import numpy as np
from mmengine import fileio
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from ..ignore_index import IGNORE_INDEX
from .file_reading import DataFileError, check_same_size
from .folder_dataset import FolderDataset
from .ignored_pixels import checked_ignore_index, fill_transforms
from .image_cache import ImageCache
from .loading import Loading
from .sample_reading import CropPlan, Draw, StepwisePlan
from .wrapped_datasets import ignore_index_of, is_local, map_leaves, original, parts

T = TypeVar('T')


def build_dataset(config: dict, role: str) -> Dataset:
    """Builds a dataset from its config and makes sure that it has files.

    Args:
        config: Config of any dataset in mmseg's registry, wrappers such as ``ConcatDataset`` too.
        role: What messages call it, for example ``'source'``.

    Raises:
        ValueError: If the folder of images is missing or holds no file with the wanted suffix, or its
            ``ignore_index`` cannot be kept.
    """
    if not isinstance(config, dict):
        raise TypeError(f'the {role} dataset must be given as a config (a dict with "type"), not {config!r}')
    built = map_leaves(copy.deepcopy(config), lambda leaf: _build_leaf(leaf, role))
    return DATASETS.build(built) if isinstance(built, dict) else built


def _build_leaf(config: dict, role: str) -> Dataset | dict:
    """Builds a dataset that reads files; what is none of mmseg's stays a config."""
    if not issubclass(DATASETS.get(config['type']) or object, BaseSegDataset):
        return config
    dataset = DATASETS.build(dict(config, lazy_init=True))
    if checked_ignore_index(dataset) != IGNORE_INDEX:
        fill_transforms(config.get('pipeline') or (), dataset.ignore_index)
        dataset = DATASETS.build(dict(config, lazy_init=True))
    if not isinstance(dataset, FolderDataset):  # which checks its folders itself
        check_folder(dataset, role)
    dataset.full_init()
    return dataset


def check_folder(dataset: BaseSegDataset, role: str) -> None:
    """Raises ValueError if the image folder or the list file of a dataset is missing, or no image is found."""
    folder, storage = dataset.data_prefix.get('img_path') or '', dataset.backend_args
    if dataset.ann_file and not os.path.isdir(dataset.ann_file):
        if not is_local(dataset.ann_file, storage):
            raise ValueError(f'ann_file={dataset.ann_file!r} of the {role} dataset goes with backend_args={storage}, '
                             'but mmseg reads lists of files from the disk alone: remove ann_file to use all files of the '
                             'folder, or backend_args and keep the data on the disk')
        if not os.path.isfile(dataset.ann_file):
            raise ValueError(f'the {role} dataset lists its files in ann_file={dataset.ann_file!r}, which does not '
                             'exist: correct ann_file or remove it to use all files of the folder')
        return
    if not fileio.isdir(folder, backend_args=storage):
        raise ValueError(f'the {role} dataset reads images from {folder!r}, which is no folder: set its data_root and '
                         'data_prefix.img_path')
    found = fileio.list_dir_or_file(folder, list_dir=False, recursive=True, backend_args=storage)
    suffix = dataset.img_suffix
    images = [name for name in found if name.lower().endswith(suffix.lower())]
    if not images:
        raise ValueError(f'the {role} dataset finds no image *{suffix} in {folder!r}: set its img_suffix '
                         'and data_prefix.img_path')
    other = [name for name in images if not name.endswith(suffix)]
    if other:
        raise ValueError(f'{len(other)} of {len(images)} images in {folder!r}, such as {other[0]}, end as '
                         f'img_suffix={suffix!r} of the {role} dataset says but for capital letters, so '
                         f'{type(dataset).__name__} would leave them out: rename them, set img_suffix, or use '
                         'FolderDataset')


class Domain:
    """Reads samples of one dataset.

    Args:
        dataset: A dataset with labels in ``gt_sem_seg`` if it is the source.
        role: ``'source'`` or ``'target'``, for messages.
        cache: Folder of this domain in a cache of decoded images, see :class:`ImageCache`. None: files are decoded.
    """

    def __init__(self, dataset: Dataset, role: str, cache: str | None = None) -> None:
        self.dataset, self.role = dataset, role
        self.classes = tuple(dataset.metainfo.get('classes') or ())
        self.ignore_index = ignore_index_of(dataset)
        if not len(dataset):
            raise ValueError(f'the {role} dataset {type(dataset).__name__} is empty')
        self.parts = parts(dataset)
        self._caches = [] if cache is None else [ImageCache(os.path.join(cache, str(place)), part, self.ignore_index)
                                                 for place, part in enumerate(self.parts)]

    def __len__(self) -> int:
        return len(self.dataset)

    def data_info(self, index: int) -> dict:
        """Returns the files of one sample: ``img_path`` and, with labels, ``seg_map_path``."""
        part, place = original(self.dataset, index)
        return part.get_data_info(place)

    def reader(self, index: int) -> Callable[[], Draw]:
        """Returns a function that draws a fresh augmentation of the sample at each call.

        Files are read once, at the first call; augmentations draw from the global random streams.
        """
        part, place = original(self.dataset, index)
        if not isinstance(part, BaseSegDataset):
            return lambda: Draw(lambda: self._guarded_sample(index, lambda: part[place]))
        kept: list[tuple[CropPlan | StepwisePlan, dict]] = []

        def draw() -> Draw:
            if not kept:
                kept.append(self._loaded(part, index, place))
            plan, results = kept[0]
            return plan.draw(results)

        def guarded() -> Draw:
            drawn = self._guarded(index, draw)
            return replace(drawn, finish=lambda: self._guarded_sample(index, drawn.finish))
        return guarded

    def _loaded(self, part: BaseSegDataset, index: int, place: int) -> tuple[CropPlan | StepwisePlan, dict]:
        steps = part.pipeline.transforms
        plan = CropPlan.of(steps, self.ignore_index)
        if plan is not None and self._caches:
            cache = next(cache for cache, one in zip(self._caches, self.parts) if one is part)
            return plan, plan.loaded_from(self.data_info(index), *cache[place])
        if plan is not None:
            results = plan.loaded(self.data_info(index))
            if plan.takes(results):
                return plan, results
        stepwise = StepwisePlan(steps)
        return stepwise, stepwise.loaded(self.data_info(index))

    def _guarded_sample(self, index: int, read: Callable[[], dict]) -> dict:
        sample = self._guarded(index, read)
        if sample is None:
            raise DataFileError(self._explain(index, ValueError('a transform returned None')))
        return sample

    def _guarded(self, index: int, read: Callable[[], T]) -> T:
        try:
            return read()
        except DataFileError as error:
            raise DataFileError(f'{self.role} dataset: {error}') from error
        except Exception as error:
            raise DataFileError(self._explain(index, error)) from error

    def _explain(self, index: int, error: Exception) -> str:
        info = self.data_info(index)
        label = info.get('seg_map_path')
        loading = Loading.of(original(self.dataset, index)[0])
        try:
            image, _ = loading.image(info)
            if label is not None and self.role == 'source':
                check_same_size(info['img_path'], image.shape[:2], label, loading.label(info)[0].shape)
        except DataFileError as reason:
            return f'{self.role} dataset: {reason}'
        if isinstance(error, KeyError) and error.args == ('seg_map_path',):
            return (f'{self.role} dataset: {info["img_path"]} has no label but the pipeline loads one. '
                    + ('Remove the label loading from the target pipeline: target labels are never used'
                       if self.role == 'target' else 'Set data_prefix.seg_map_path of the source dataset'))
        return (f'{self.role} dataset: {info["img_path"]} (label {label}) failed in the pipeline with '
                f'{type(error).__name__}: {error}. The files can be read; check the transforms of '
                f'train_dataloader.dataset.{self.role}.pipeline')


def domain_folders(cache: str | None) -> dict[str, str | None]:
    """Returns the folder of each domain in a cache, None for all without one."""
    return {name: None if cache is None else os.path.join(cache, name) for name in ('source', 'target', 'translated')}


def class_ids_as_trained(label_HW: np.ndarray, info: dict) -> np.ndarray:
    """Turns the numbers of a label file into training ids, as ``reduce_zero_label`` and custom classes ask.

    Args:
        label_HW: uint8 label as stored.
        info: ``data_info`` of the sample, with ``reduce_zero_label`` and ``label_map``.

    Returns:
        uint8 label with training ids, 255 = ignore.
    """
    table = np.arange(256, dtype=np.int64)
    if info.get('reduce_zero_label'):
        table = np.where((table == 0) | (table == 255), 255, table - 1)
    if info.get('label_map'):
        renamed = np.arange(256, dtype=np.int64)
        for old, new in info['label_map'].items():
            renamed[old] = new
        table = renamed[table]
    return label_HW if (table == np.arange(256)).all() else cv2.LUT(label_HW, table.astype(np.uint8))
