"""Reads single files as the pipeline of their dataset does: for what looks at data without running pipelines."""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Dataset

from .file_reading import DataFileError, as_8_bit, decode_image, read_label_and_mode, used_bits
from .wrapped_datasets import storage_of

LABEL_LOADERS = ('LoadLabelStrictly', 'LoadAnnotations')


@dataclass(frozen=True)
class Loading:
    """How the files of one dataset are read.

    Args:
        image_storage: ``backend_args`` of its images.
        label_storage: ``backend_args`` of its labels.
        color_type: See :func:`file_reading.read_image`.
        value_range: The same.
        step: The first step of the pipeline, if that is none whose reading is known here. It reads the images then.
    """

    image_storage: dict | None = None
    label_storage: dict | None = None
    color_type: str = 'color'
    value_range: tuple[float, float] | None = None
    step: Callable[[dict], dict] | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> 'Loading':
        """Looks at the pipeline of a dataset that reads files; one without loads as :func:`read_image` does."""
        steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', [])
        storage = storage_of(dataset)
        label = next((step for step in steps if type(step).__name__ in LABEL_LOADERS), None)
        known = dict(image_storage=storage, label_storage=storage if label is None else label.backend_args)
        first = steps[0] if steps else label
        if first is label:
            return cls(**known)
        if type(first).__name__ == 'LoadImageStrictly':
            return cls(**known | dict(image_storage=first.backend_args), color_type=first.color_type,
                       value_range=first.value_range)
        if (type(first).__name__ == 'LoadImageFromFile' and first.imdecode_backend == 'cv2'
                and first.color_type == 'color' and first.file_client_args is None):
            return cls(**known | dict(image_storage=first.backend_args))
        return cls(**known, step=first)

    def image(self, info: dict) -> tuple[np.ndarray, int | None]:
        """Reads an image; also returns its :func:`file_reading.used_bits`, None where ``value_range`` says them.

        Raises:
            DataFileError: If it cannot be read.
        """
        path = info['img_path']
        if self.step is None:
            stored = decode_image(path, self.image_storage, self.color_type)
            return as_8_bit(path, stored, self.value_range), used_bits(stored) if self.value_range is None else None
        try:
            return self.step(dict(info))['img'], None
        except DataFileError:
            raise
        except Exception as error:  # whatever a loader of someone else raises
            raise DataFileError(f'{path} cannot be read by {type(self.step).__name__} of its pipeline '
                                f'({type(error).__name__}: {error}): copy or download it again, or change that step'
                                ) from error

    def label(self, info: dict) -> tuple[np.ndarray, str]:
        """Reads a label, see :func:`file_reading.read_label_and_mode`."""
        return read_label_and_mode(info['seg_map_path'], self.label_storage)
