"""Looks for files that are where they should not be: labels among images, one image in both domains."""
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .data_description import DataDescription, DataDescriptionError, Images, file_names

_LOOKED_AT = 64  # of grey files, whether they are labels
_KINDS_OF_LABELS = ('1', 'L', 'P')


def check_images(data: DataDescription, adapts: bool = True) -> list[str]:
    """Looks at all files.

    Args:
        data: Folders and classes.
        adapts: Whether the target is trained on; an oracle has the target as its source.

    Returns:
        What is worth knowing and no fault, a sentence each.

    Raises:
        DataDescriptionError: If labels lie among the target images, or labelled target images are source images.
    """
    names = file_names(data.target.images, 'target images')
    masks = _masks(data.target.images, names, len(data.classes))
    if masks:
        raise DataDescriptionError(
            f'{len(masks)} of {len(names)} files in {data.target.images} look like labels (one number a pixel, all of '
            f'them class ids or 255), for example {masks[0]}: give the folder of the images alone with --target, and '
            'that of the labels, if they are to score, with --target-labels')
    if data.source is None:
        return []
    if data.validation is not None:
        same = _same(data.source, data.validation)
        if same:
            raise DataDescriptionError(
                f'{len(same)} labelled target images are source images too, for example {same[0][1]} and '
                f'{same[0][0]}: the score would be one of images that were trained on with labels. Remove them from '
                'one of the folders')
    same = _same(data.source, data.target) if adapts else []
    if len(same) == len(names):
        raise DataDescriptionError(f'all {len(names)} target images are source images too, for example {same[0][1]} '
                                   f'and {same[0][0]}: give images of another domain with --target')
    return [] if not same else [
        f'{len(same)} of {len(names)} target images are source images too, for example {same[0][1]} and '
        f'{same[0][0]}: nothing is adapted by them; remove them from one of the folders if that was not meant']


def _masks(folder: Path, names: Sequence[str], num_classes: int) -> list[str]:
    """Lists the files that hold nothing but class ids; where there are many grey files, a part is looked at."""
    grey = [name for name in names if _kind(folder / name) in _KINDS_OF_LABELS]
    chosen = grey if len(grey) <= _LOOKED_AT else grey[::-(-len(grey) // _LOOKED_AT)]
    masks = [name for name in chosen if _only_ids(folder / name, num_classes)]
    # Where all that were looked at are labels, so are the others.
    return grey if masks and len(masks) == len(chosen) else masks


def _kind(path: Path) -> str | None:
    try:
        with Image.open(path) as image:
            return image.mode
    except (OSError, SyntaxError, ValueError):
        return None  # the audit says what is wrong with it


def _only_ids(path: Path, num_classes: int) -> bool:
    try:
        with Image.open(path) as image:
            found = np.unique(np.array(image).astype(np.uint8))
    except (OSError, SyntaxError, ValueError):
        return False
    return bool(np.isin(found, [*range(num_classes), 255]).all())


def _same(one: Images, other: Images) -> list[tuple[Path, Path]]:
    """Lists pairs of files of the same content."""
    first = [one.images / name for name in file_names(one.images, str(one.images))]
    second = [other.images / name for name in file_names(other.images, str(other.images))]
    sizes = {path.stat().st_size for path in first} & {path.stat().st_size for path in second}
    known = {_digest(path): path for path in first if path.stat().st_size in sizes}
    found = [(known.get(_digest(path)), path) for path in second if path.stat().st_size in sizes]
    return [(before, path) for before, path in found if before is not None]


def _digest(path: Path) -> bytes:
    with path.open('rb') as stream:
        return hashlib.file_digest(stream, 'blake2b').digest()
