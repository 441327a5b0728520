"""Reads image and label files so that a file that cannot be used is named, together with what to do about it."""
import io

import cv2
import numpy as np
from mmengine import fileio
from PIL import Image, UnidentifiedImageError

END_MARKS = {b'\x89PNG': b'IEND', b'\xff\xd8\xff': b'\xff\xd9'}  # first bytes of the format -> last bytes
TAIL = 1024


class DataFileError(ValueError):
    """A data file that cannot be used; the message names the file and the fix."""


def read_image(path: str, backend_args: dict | None = None) -> np.ndarray:
    """Reads an image of any bit depth, grey or with transparency, as the 8-bit colour image that networks take.

    Args:
        path: Image file.
        backend_args: Storage of the file, see ``mmengine.fileio``.

    Returns:
        uint8 [H, W, 3] in BGR order.

    Raises:
        DataFileError: If the file is missing, empty, truncated or no image.
    """
    data = _read_bytes(path, 'image', backend_args)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise DataFileError(f'{path} cannot be decoded ({error}): copy or download this image again') from error
    if image is None:
        raise DataFileError(f'{path} is damaged or no image ({len(data)} bytes): copy or download it again, or '
                            'remove the file and its label')
    _refuse_truncated(path, data)
    return image


def read_label(path: str, backend_args: dict | None = None) -> np.ndarray:
    """Reads a label image: one number a pixel. The numbers of a palette PNG are its palette indices.

    Args:
        path: Label file.
        backend_args: Storage of the file, see ``mmengine.fileio``.

    Returns:
        uint8 [H, W], as stored.

    Raises:
        DataFileError: If the file is missing, empty, truncated, no image, coloured, or has numbers above 255.
    """
    data = _read_bytes(path, 'label', backend_args)
    try:
        with Image.open(io.BytesIO(data)) as image:
            label = np.array(image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataFileError(f'label {path} is damaged or no image ({error}): copy or download it again, or remove '
                            'the file and its image') from error
    if label.ndim != 2:
        raise DataFileError(f'label {path} has {label.shape[2]} channels: class ids are needed, one number a pixel '
                            '(8-bit grey or palette PNG). Convert colours or packed ids to class ids first')
    if label.dtype == bool:
        return label.astype(np.uint8)
    if not np.issubdtype(label.dtype, np.integer):
        raise DataFileError(f'label {path} holds {label.dtype} numbers: save class ids as an 8-bit PNG')
    if label.size and (label.min() < 0 or label.max() > 255):
        raise DataFileError(f'label {path} holds numbers from {label.min()} to {label.max()}: class ids lie in '
                            '[0, 254] and 255 means ignore. Convert the ids first (tools/dataset_converters)')
    return label.astype(np.uint8)


def check_same_size(image_path: str, image_hw: tuple[int, int], label_path: str, label_hw: tuple[int, int]) -> None:
    """Raises :class:`DataFileError` if an image and its label differ in height or width."""
    if tuple(image_hw) != tuple(label_hw):
        raise DataFileError(
            f'image {image_path} is {image_hw[1]}x{image_hw[0]} (width x height), its label {label_path} is '
            f'{label_hw[1]}x{label_hw[0]}: they must be equal. Resize the label with nearest-neighbour '
            'interpolation, or remove an EXIF rotation of the image')


def _read_bytes(path: str, what: str, backend_args: dict | None) -> bytes:
    try:
        data = fileio.get(path, backend_args=backend_args)
    except FileNotFoundError as error:
        raise DataFileError(f'{what} {path} does not exist: check data_root, data_prefix and the suffix of the '
                            'dataset config, or put the file there') from error
    except OSError as error:
        raise DataFileError(f'{what} {path} cannot be read: {error}') from error
    if not data:
        raise DataFileError(f'{what} {path} is empty (0 bytes): copy or download it again')
    return data


def _refuse_truncated(path: str, data: bytes) -> None:
    """Decoders of OpenCV fill the missing part of a cut-off file with grey or black and do not complain."""
    for start, end in END_MARKS.items():
        if data.startswith(start) and end not in data[-TAIL:]:
            try:
                with Image.open(io.BytesIO(data)) as image:
                    image.load()
            except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
                raise DataFileError(f'image {path} is cut off ({error}): copy or download it again') from error

