"""One side of the adaptation: a dataset that is built, checked, and read with an error that names the file."""
import copy
import os
from collections.abc import Callable

import numpy as np
from mmengine import fileio
from mmengine.dataset import Compose
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from .file_reading import DataFileError, check_same_size, read_image, read_label
from .folder_dataset import FolderDataset

# Transforms that draw nothing: a second crop of the same file need not decode and resize it again.
DETERMINISTIC = ('LoadImageStrictly', 'LoadLabelStrictly', 'LoadPseudoLabelMargins', 'LoadImageFromFile',
                 'LoadAnnotations', 'Resize')


def build_dataset(config: dict, role: str) -> Dataset:
    """Builds a dataset from its config and makes sure that it has files.

    Args:
        config: Config of any dataset in mmseg's registry.
        role: What messages call it, for example ``'source'``.

    Raises:
        ValueError: If the folder of images is missing or holds no file with the wanted suffix.
    """
    if not isinstance(config, dict):
        raise TypeError(f'the {role} dataset must be given as a config (a dict with "type"), not {config!r}')
    config = copy.deepcopy(config)
    if not issubclass(DATASETS.get(config['type']) or object, BaseSegDataset):
        return DATASETS.build(config)
    dataset = DATASETS.build(dict(config, lazy_init=True))
    if not isinstance(dataset, FolderDataset):  # which checks its folders itself
        check_folder(dataset, role)
    dataset.full_init()
    return dataset


def check_folder(dataset: BaseSegDataset, role: str) -> None:
    """Raises ValueError if the image folder or the list file of a dataset is missing, or no image is found."""
    folder, storage = dataset.data_prefix.get('img_path') or '', dataset.backend_args
    if dataset.ann_file and not os.path.isdir(dataset.ann_file):
        if not fileio.exists(dataset.ann_file, backend_args=storage):
            raise ValueError(f'the {role} dataset lists its files in ann_file={dataset.ann_file!r}, which does not '
                             'exist: correct ann_file or remove it to use all files of the folder')
        return
    if not fileio.isdir(folder, backend_args=storage):
        raise ValueError(f'the {role} dataset reads images from {folder!r}, which is no folder: set its data_root and '
                         'data_prefix.img_path')
    found = fileio.list_dir_or_file(folder, list_dir=False, suffix=dataset.img_suffix, recursive=True,
                                    backend_args=storage)
    if next(iter(found), None) is None:
        raise ValueError(f'the {role} dataset finds no image *{dataset.img_suffix} in {folder!r}: set its img_suffix '
                         'and data_prefix.img_path')


class Domain:
    """Reads samples of one dataset.

    Args:
        dataset: A dataset with labels in ``gt_sem_seg`` if it is the source.
        role: ``'source'`` or ``'target'``, for messages.
    """

    def __init__(self, dataset: Dataset, role: str) -> None:
        self.dataset, self.role = dataset, role
        self.classes = tuple(dataset.metainfo.get('classes') or ())
        self.ignore_index = getattr(dataset, 'ignore_index', 255)
        if not len(dataset):
            raise ValueError(f'the {role} dataset {type(dataset).__name__} is empty')

    def __len__(self) -> int:
        return len(self.dataset)

    def data_info(self, index: int) -> dict:
        """Returns the files of one sample: ``img_path`` and, with labels, ``seg_map_path``."""
        return self.dataset.get_data_info(index)

    def reader(self, index: int) -> Callable[[], dict]:
        """Returns a function that gives the sample with a fresh augmentation at each call.

        Files are read once, at the first call; augmentations draw from the global random streams.
        """
        if not isinstance(self.dataset, BaseSegDataset):
            return lambda: self._guarded(index, lambda: self.dataset[index])
        steps = self.dataset.pipeline.transforms
        split = next((i for i, step in enumerate(steps) if type(step).__name__ not in DETERMINISTIC), len(steps))
        kept: list[dict] = []

        def read() -> dict:
            if not kept:
                kept.append(Compose(steps[:split])(self.data_info(index)))
            return Compose(steps[split:])(copy.deepcopy(kept[0]))
        return lambda: self._guarded(index, read)

    def _guarded(self, index: int, read: Callable[[], dict]) -> dict:
        try:
            sample = read()
        except DataFileError as error:
            raise DataFileError(f'{self.role} dataset: {error}') from error
        except Exception as error:
            raise DataFileError(self._explain(index, error)) from error
        if sample is None:
            raise DataFileError(self._explain(index, ValueError('a transform returned None')))
        return sample

    def _explain(self, index: int, error: Exception) -> str:
        info = self.data_info(index)
        label = info.get('seg_map_path')
        try:
            storage = getattr(self.dataset, 'backend_args', None)
            image = read_image(info['img_path'], storage)
            if label is not None and self.role == 'source':
                check_same_size(info['img_path'], image.shape[:2], label, read_label(label, storage).shape)
        except DataFileError as reason:
            return f'{self.role} dataset: {reason}'
        if isinstance(error, KeyError) and error.args == ('seg_map_path',):
            return (f'{self.role} dataset: {info["img_path"]} has no label but the pipeline loads one. '
                    + ('Remove the label loading from the target pipeline: target labels are never used'
                       if self.role == 'target' else 'Set data_prefix.seg_map_path of the source dataset'))
        return (f'{self.role} dataset: {info["img_path"]} (label {label}) failed in the pipeline with '
                f'{type(error).__name__}: {error}. The files can be read; check the transforms of '
                f'train_dataloader.dataset.{self.role}.pipeline')


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
    return table.astype(np.uint8)[label_HW]
