"""Reads masks whose colours say the class, by a palette."""
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from ..ignore_index import IGNORE_INDEX
from .file_formats import is_lossy
from .file_reading import DAMAGED, DataFileError

Color = tuple[int, int, int]
_SHOWN = 5


def color_table(palette: Sequence[Sequence[int]], ignored: Sequence[Sequence[int]] = ()) -> dict[Color, int]:
    """Returns the class id of each colour.

    Args:
        palette: RGB in [0, 255] by class id.
        ignored: RGB of what is not trained on.

    Raises:
        ValueError: If a colour is none, or stands for two classes.
    """
    table: dict[Color, int] = {}
    for color, class_id in [*((color, index) for index, color in enumerate(palette)),
                            *((color, IGNORE_INDEX) for color in ignored)]:
        if len(color) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in color):
            raise ValueError(f'the colour {color!r} is no RGB of three numbers from 0 to 255: correct the palette')
        red, green, blue = color
        known = table.setdefault((red, green, blue), class_id)
        if known != class_id:
            raise ValueError(f'the colour {(red, green, blue)} stands for the ids {known} and {class_id}: give each class '
                             'its own')
    return table


def read_color_mask(path: str, table: Mapping[Color, int]) -> np.ndarray:
    """Reads a colour mask as class ids.

    Args:
        path: Image of any kind without loss; transparency is dropped.
        table: See :func:`color_table`.

    Returns:
        uint8 [H, W].

    Raises:
        DataFileError: If the file cannot be read, or has colours that are not in the table; they are named with their
            pixels.
    """
    try:
        with open(path, 'rb') as stream:
            if is_lossy(stream.read()):
                raise DataFileError(f'mask {path} is a JPEG or lossy WebP, whose colours are not those that were saved: '
                                    'export it as PNG')
        with Image.open(path) as image:
            colors_HW3 = np.array(image.convert('RGB'))
    except DataFileError:
        raise
    except DAMAGED as error:
        raise DataFileError(f'mask {path} is damaged or no image ({error}): copy it again, or remove it') from error
    keys_HW = colors_HW3.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    keys, places, pixels = np.unique(keys_HW, return_inverse=True, return_counts=True)
    colors = [(int(key) >> 16, int(key) >> 8 & 255, int(key) & 255) for key in keys]
    unknown = sorted(((int(count), color) for color, count in zip(colors, pixels) if color not in table), reverse=True)
    if unknown:
        shown = ', '.join(f'{color} in {count} pixels' for count, color in unknown[:_SHOWN])
        more = f' and {len(unknown) - _SHOWN} more' if len(unknown) > _SHOWN else ''
        raise DataFileError(f'mask {path} has {len(unknown)} colours that are no class: {shown}{more}. Add them to the '
                            'palette of the classes, or leave them out of training with --ignore R,G,B; many colours of a '
                            'few pixels are edges that were smoothed: export the masks without')
    return np.array([table[color] for color in colors], np.uint8)[places].reshape(keys_HW.shape)
