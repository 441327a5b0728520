"""Looks at files and device: what the rule in ``choices.py`` is given."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..datasets.file_reading import DataFileError
from ..processor_cores import usable_cores
from .choices import Facts, ImageSizes
from .data_description import DataDescription, Images, file_names

_LOOKED_AT = 2000


def gather_facts(data: DataDescription, statistics: Sequence[dict], method: str,
                 trained_scale: tuple[int, int] | None = None) -> Facts:
    """Returns sizes, counts and device.

    Args:
        data: Folders and classes.
        statistics: What :func:`class_statistics.count_files` gave for the source labels.
        method: Name of the method.
        trained_scale: What a segmentor that is given resizes its test images into.
    """
    most: dict[str, int] = {}
    for entry in statistics:
        for class_id, pixels in entry.items():
            if class_id != 'file':
                most[class_id] = max(most.get(class_id, 0), pixels)
    cuda = torch.cuda.is_available()
    return Facts(
        source=None if data.source is None else image_sizes(data.source), target=image_sizes(data.target),
        labelled=0 if data.validation is None else data.validation.count, most_pixels=most,
        device='cuda' if cuda else 'cpu',
        memory=torch.cuda.get_device_properties(0).total_memory if cuda else 0,
        cores=usable_cores(), method=method, trained_scale=trained_scale)


def image_sizes(images: Images) -> ImageSizes:
    """Reads the sizes of images, evenly spread over all where there are many.

    Raises:
        DataFileError: If a file is no image.
    """
    names = file_names(images.images, str(images.images))
    chosen = np.unique(np.linspace(0, len(names) - 1, min(len(names), _LOOKED_AT)).round().astype(int))
    sizes = np.array([_size(images.images / names[index]) for index in chosen])
    width, height = np.median(sizes, axis=0).round().astype(int)
    return ImageSizes(len(names), int(width), int(height), int(sizes.prod(axis=1).max()))


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, ValueError) as error:
        raise DataFileError(f'image {path} is damaged or no image: copy or download it again, or remove the file and '
                            'its label') from error
