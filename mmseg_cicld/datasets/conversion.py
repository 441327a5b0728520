"""Conversion of published labels to training ids. Runs again without harm: finished files are kept."""
import filecmp
import json
import os
import shutil
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from mmseg.datasets import CityscapesDataset
from PIL import Image, ImageDraw

from ..atomic_files import replacing
from ..ignore_index import IGNORE_INDEX
from .cityscapes_ids import CITYSCAPES_TABLE, SYNTHIA_TABLE
from .class_statistics import count_pixels, run_parallel
from .file_reading import DataFileError, read_label
from .file_writing import write_png

Reader = Callable[[str], np.ndarray]


class Conversion(NamedTuple):
    """One label file to convert: from where, to where, and what reads it as training ids (uint8 [H, W])."""

    source: str
    output: str
    read: Reader


def convert_files(conversions: Sequence[Conversion], nproc: int) -> list[dict]:
    """Converts label files, those without a finished output newer than the source.

    Args:
        conversions: At least one.
        nproc: Number of processes.

    Returns:
        Class statistics of each output, see :func:`class_statistics.count_file`.

    Raises:
        DataFileError: Naming a file that cannot be converted.
    """
    return run_parallel(convert_file, conversions, nproc, 'Converting labels')


def convert_file(conversion: Conversion) -> dict:
    """Converts one label file if that is still to be done and counts its classes."""
    source, output, read = conversion
    if os.path.exists(output) and os.path.getmtime(output) >= os.path.getmtime(source):
        label_HW = read_label(output)
    else:
        label_HW = read(source)
        write_png(output, label_HW)
    return dict(count_pixels(label_HW), file=output.replace(os.sep, '/'))


def find_files(folder: str, suffix: str | tuple[str, ...], wanted: Callable[[str], bool] = lambda name: True
               ) -> list[str]:
    """Lists files below a folder by suffix, sorted.

    Args:
        folder: Where to look, sub-folders too.
        suffix: End of the file names, or several.
        wanted: Further condition on a file name.

    Raises:
        ValueError: If there are none.
    """
    found = sorted(os.path.join(place, name) for place, _, names in os.walk(folder) for name in names
                   if name.endswith(suffix) and wanted(name))
    if not found:
        kinds = ' or *'.join([suffix] if isinstance(suffix, str) else suffix)
        raise ValueError(f'no file *{kinds} below {folder}: give the folder that holds the extracted dataset')
    return found


def read_gta(path: str) -> np.ndarray:
    """Reads a GTA5 label (palette PNG whose indices are Cityscapes label ids) as training ids."""
    return CITYSCAPES_TABLE[read_label(path)]


def read_synthia(path: str) -> np.ndarray:
    """Reads a SYNTHIA-RAND-CITYSCAPES label: 16-bit PNG, the class is in the red channel."""
    try:
        channels = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise DataFileError(f'label {path} cannot be decoded ({error}): extract it again') from error
    if channels is None or channels.ndim != 3 or channels.dtype != np.uint16:
        kind = 'no image' if channels is None else f'{channels.dtype} {channels.shape}'
        raise DataFileError(f'label {path} is {kind}: SYNTHIA labels are 16-bit PNGs with three channels '
                            '(GT/LABELS of SYNTHIA-RAND-CITYSCAPES)')
    return SYNTHIA_TABLE[channels[..., -1]]


def read_cityscapes_ids(path: str) -> np.ndarray:
    """Reads ``*_labelIds.png`` as training ids."""
    return CITYSCAPES_TABLE[read_label(path)]


def read_cityscapes_polygons(path: str) -> np.ndarray:
    """Draws ``*_polygons.json`` as training ids: later polygons over earlier ones, as Cityscapes makes its labels."""
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
        image = Image.new('L', (content['imgWidth'], content['imgHeight']), IGNORE_INDEX)
        draw = ImageDraw.Draw(image)
        for entry in content['objects']:
            train_id = None if entry.get('deleted') else _polygon_train_id(entry['label'])
            if train_id is not None:
                draw.polygon([tuple(point) for point in entry['polygon']], fill=train_id)
    except (ValueError, KeyError, TypeError) as error:
        raise DataFileError(f'{path} is no polygon file of Cityscapes ({type(error).__name__}: {error}): extract it '
                            'again') from error
    return np.array(image)


def _polygon_train_id(name: str) -> int | None:
    """Returns the training id of a name; None if it is not drawn, 255 if it is drawn as ignore."""
    classes = CityscapesDataset.METAINFO['classes']
    single = name.removesuffix('group')  # a crowd counts as its class; "polegroup" is a class of its own
    if single == 'license plate':
        return None
    if name != 'polegroup' and single in classes:
        return classes.index(single)
    return IGNORE_INDEX


def gather_files(pairs: Sequence[tuple[str, str]], nproc: int) -> None:
    """Makes files appear in another place too: as hard links if possible, else as copies.

    Args:
        pairs: Path of a file and the place where it shall appear.
        nproc: Number of processes.

    Raises:
        ValueError: If two files would appear in the same place, or another file is there already.
    """
    places: dict[str, str] = {}
    for path, place in pairs:
        if places.setdefault(place, path) != path:
            raise ValueError(f'{path} and {places[place]} would both become {place}: remove one of them')
    run_parallel(gather_file, [pair for pair in pairs if pair[0] != pair[1]] or list(pairs), nproc, 'Arranging files')


def gather_file(pair: tuple[str, str]) -> None:
    """Makes one file appear in another place, see :func:`gather_files`."""
    path, place = pair
    if os.path.exists(place):
        if not os.path.samefile(path, place) and not filecmp.cmp(path, place, shallow=False):
            raise ValueError(f'{place} exists and differs from {path}: remove it or choose another folder')
        return
    with replacing(place) as temporary:
        try:
            os.link(path, temporary)
        except OSError:  # another disk, or a file system without links
            shutil.copyfile(path, temporary)
