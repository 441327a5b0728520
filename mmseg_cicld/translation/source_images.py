"""The labelled images that are to be translated, with names that hold in the source folder and in the output."""
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from ..datasets.domain import class_ids_as_trained
from ..datasets.file_reading import DataFileError, check_same_size, read_image, read_label
from ..datasets.label_audit import TRAINING_SAMPLE, audit_dataset, build_without_pipeline
from ..datasets.wrapped_datasets import is_local
from ..ignore_index import IGNORE_INDEX
from .errors import TranslationError


@dataclass(frozen=True)
class SourceFile:
    """One image and its label.

    Args:
        name: Image file relative to ``data_root``, with forward slashes.
        label_name: Label file, likewise.
        info: What the dataset knows of it: ``img_path``, ``seg_map_path``, how label files become class ids.
    """

    name: str
    label_name: str
    info: dict

    def at(self, root: str | Path) -> 'SourceFile':
        """The same files in another folder."""
        paths = dict(img_path=os.path.join(root, self.name), seg_map_path=os.path.join(root, self.label_name))
        return replace(self, info=self.info | paths)


@dataclass(frozen=True)
class SourceImage:
    """What was read of one :class:`SourceFile`.

    Args:
        image_HW3: uint8 RGB.
        stored_HW: uint8, the numbers of the label file.
        label_HW: uint8 class ids, 255 = ignore.
    """

    image_HW3: np.ndarray
    stored_HW: np.ndarray
    label_HW: np.ndarray


class SourceImages:
    """Lists and reads the images of a labelled dataset.

    Args:
        config: Config of any dataset in mmseg's registry with a ``data_root`` that holds its images and labels. Its
            pipeline is not used: images are translated as they are stored.

    Raises:
        TranslationError: If the folders are not as described, labels are missing, or a look at some of them finds
            faults.
    """

    def __init__(self, config: dict) -> None:
        self.config = {key: value for key, value in config.items() if key != 'pipeline'}
        self.root = config.get('data_root')
        if not self.root:
            raise TranslationError('source has no data_root: the translated dataset is the same config with another '
                                   'data_root, so set source.data_root and give data_prefix relative to it')
        if not is_local(self.root, config.get('backend_args')):
            raise TranslationError(f'source.backend_args={config.get("backend_args")}: a translation reads and links '
                                   'files of the disk. Copy the source there and remove source.backend_args')
        self.dataset = self.dataset_at(self.root)
        self.classes = tuple(self.dataset.metainfo.get('classes') or ())
        self.palette = self.dataset.metainfo.get('palette') or ()
        if not self.classes:
            raise TranslationError('source has no classes: set source.metainfo=dict(classes=[...])')
        if self.dataset.ignore_index != IGNORE_INDEX:
            raise TranslationError(f'source.ignore_index={self.dataset.ignore_index}: labels that are not used must be '
                                   f'{IGNORE_INDEX} here')
        self.files = [self._file(info) for info in _infos(self.dataset)]
        self._refuse_faults()

    def dataset_at(self, root: str) -> Dataset:
        """Builds the dataset of the config with its files in another folder, without a pipeline."""
        try:
            return build_without_pipeline(dict(self.config, data_root=root), 'source')
        except ValueError as error:
            raise TranslationError(f'source: {error}') from error

    def read(self, file: SourceFile) -> SourceImage:
        """Reads an image and its label.

        Raises:
            DataFileError: If a file cannot be used, their sizes differ, or the label has ids without a class.
        """
        storage = self.dataset.backend_args
        image_HW3 = read_image(file.info['img_path'], storage)[..., ::-1]
        stored_HW = read_label(file.info['seg_map_path'], storage)
        check_same_size(file.info['img_path'], image_HW3.shape[:2], file.info['seg_map_path'], stored_HW.shape)
        label_HW = class_ids_as_trained(stored_HW, file.info)
        unknown = np.unique(label_HW[(label_HW >= len(self.classes)) & (label_HW != IGNORE_INDEX)])
        if len(unknown):
            raise DataFileError(f'the label {file.info["seg_map_path"]} has the ids {unknown.tolist()[:10]}, allowed '
                                f'are 0 to {len(self.classes) - 1} and {IGNORE_INDEX}: convert the labels to class '
                                'ids first (tools/dataset_converters)')
        return SourceImage(np.ascontiguousarray(image_HW3), stored_HW, label_HW)

    def _file(self, info: dict) -> SourceFile:
        if info.get('seg_map_path') is None:
            raise TranslationError(f'source: {info["img_path"]} has no label. Labels guide the translation: set '
                                   'source.data_prefix.seg_map_path')
        return SourceFile(self._name(info['img_path']), self._name(info['seg_map_path']), info)

    def _name(self, path: str) -> str:
        name = os.path.relpath(path, self.root)
        if name.startswith(os.pardir):
            raise TranslationError(f'source: {path} does not lie in data_root={self.root!r}. The translated dataset is '
                                   'the same config with another data_root: set source.data_root to a folder that '
                                   'holds images and labels, and give data_prefix relative to it')
        return name.replace(os.sep, '/')

    def _refuse_faults(self) -> None:
        missing = [path for file in self.files if not os.path.isfile(path := file.info['seg_map_path'])]
        if missing:
            raise TranslationError(f'{len(missing)} of {len(self.files)} images of source have no label file, for '
                                   f'example {", ".join(missing[:3])}: check source.data_prefix.seg_map_path and '
                                   'source.seg_map_suffix, or convert the labels first (tools/dataset_converters)')
        report = audit_dataset(self.dataset, TRAINING_SAMPLE, name='source')
        if report.blocking:
            raise TranslationError('source cannot be used as it is: ' + '; '.join(
                finding.text for finding in report.blocking[:3]))


def _infos(dataset: Dataset) -> list[dict]:
    return [dataset.get_data_info(index) for index in range(len(dataset))]
