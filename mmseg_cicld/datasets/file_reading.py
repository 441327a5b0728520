"""Reads image and label files so that a file that cannot be used is named, together with what to do about it."""
import io

import cv2
import numpy as np
from mmengine import fileio
from PIL import Image, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from .file_formats import (JPEG, PNG, TIFF, bands_without_colour, has_pages, is_deep_tiff, is_lossy, is_palette_tiff,
                           is_plain_colour_png, is_plain_grey_png, is_white_zero, small_grey_bits)
from .png_decoding import quick_png

END_MARKS = {PNG: b'IEND', JPEG: b'\xff\xd9'}  # first bytes of the format -> last bytes
TAIL = 1024
COLOR_TYPES = dict(color=cv2.IMREAD_COLOR, grayscale=cv2.IMREAD_GRAYSCALE, unchanged=cv2.IMREAD_UNCHANGED)
DAMAGED = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)
OTHER_LOADER = ("load it by dict(type='LoadImageFromFile', color_type='unchanged', imdecode_backend='tifffile') as the "
                'first step of the pipeline')


class DataFileError(ValueError):
    """A data file that cannot be used; the message names the file and the fix, in one line.

    A loader's worker hands its error on as the text of a traceback, whose last line is the message.
    """

    def __init__(self, message: str) -> None:
        if 'Traceback (most recent call last)' in message:
            message = message.rstrip().rpartition('\n')[2].partition('Error: ')[2]
        super().__init__(' '.join(line.strip() for line in message.splitlines()))


class MissingFileError(DataFileError):
    """A data file that is not there."""


def read_image(path: str, backend_args: dict | None = None, color_type: str = 'color',
               value_range: tuple[float, float] | None = None) -> np.ndarray:
    """Reads an image of any bit depth, grey or with transparency, as the 8-bit image that networks take.

    Args:
        path: Image file.
        backend_args: Storage of the file, see ``mmengine.fileio``.
        color_type: ``'color'``: three channels, transparency is dropped. ``'grayscale'``: one. ``'unchanged'``: as
            many as the file has.
        value_range: The numbers in the file that become 0 and 255, such as (0, 4095) for 12-bit data and (0, 1) for
            floating-point reflectance; what lies beyond is cut off. None: 0 to 255 of 8-bit and 0 to 65535 of 16-bit
            files.

    Returns:
        uint8 [H, W, 3] in BGR order, [H, W] if grey, [H, W, 4] (BGRA) with ``'unchanged'``.

    Raises:
        DataFileError: If the file is missing, empty, truncated, no image, has several pages or bands that are no
            colours, or holds other numbers than 8 or 16 bits without a ``value_range``.
    """
    return as_8_bit(path, decode_image(path, backend_args, color_type), value_range)


def decode_image(path: str, backend_args: dict | None = None, color_type: str = 'color') -> np.ndarray:
    """Reads an image as :func:`read_image` does, with the numbers of the file."""
    data = _read_bytes(path, 'image', backend_args)
    bands = bands_without_colour(data)
    if bands is not None:
        raise DataFileError(f'image {path} has {bands} bands that are no colours, of which OpenCV reads one: save them '
                            f'as RGB or RGBA, or {OTHER_LOADER}')
    _refuse_pages(path, 'image', data)
    image = _decoded(path, data, color_type)
    _refuse_truncated(path, data)
    return image


def as_8_bit(path: str, image: np.ndarray, value_range: tuple[float, float] | None) -> np.ndarray:
    """Turns what :func:`decode_image` gave into uint8, see :func:`read_image`."""
    if value_range is not None:
        low, high = value_range
        if image.dtype == np.uint8 and high > 255:
            raise DataFileError(f'image {path} has 8 bits, which do not go with value_range={tuple(value_range)} of '
                                'LoadImageStrictly: keep files of different depth in datasets of their own')
        scaled = (image.astype(np.float32) - low) * (255 / (high - low))
        if not np.isfinite(scaled).all():
            raise DataFileError(f'image {path} has {(~np.isfinite(scaled)).sum()} numbers that are not finite (NaN or '
                                'infinite): fill them, or save the image as an 8-bit PNG')
        return scaled.round().clip(0, 255).astype(np.uint8)
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        raise DataFileError(f'image {path} holds {image.dtype} numbers from {image.min():.4g} to {image.max():.4g}: '
                            'say which of them are black and white by value_range=(BLACK, WHITE) of LoadImageStrictly, or '
                            'save it with 8 bits')
    return (image >> 8).astype(np.uint8)


def used_bits(image: np.ndarray) -> int | None:
    """Returns how many bits the largest number of a 16-bit file needs; None for other files and black images."""
    if image.dtype != np.uint16:
        return None
    # Transparency is full in files of any depth.
    return int(image[..., :3].max() if image.ndim == 3 else image.max()).bit_length() or None


def read_label(path: str, backend_args: dict | None = None) -> np.ndarray:
    """Reads a label image of any size: one number a pixel. The numbers of a palette PNG are its palette indices.

    Args:
        path: Label file.
        backend_args: Storage of the file, see ``mmengine.fileio``.

    Returns:
        uint8 [H, W], as stored.

    Raises:
        DataFileError: If the file is missing, empty, truncated, no image, coloured, of a kind that changes numbers,
            or has numbers above 255.
    """
    return read_label_and_mode(path, backend_args)[0]


def read_label_and_mode(path: str, backend_args: dict | None = None) -> tuple[np.ndarray, str]:
    """Reads a label image as :func:`read_label` does; also returns Pillow's name of its kind, ``'P'`` for palettes."""
    data = _read_bytes(path, 'label', backend_args)
    _refuse_pages(path, 'label', data)
    if is_lossy(data) or is_white_zero(data):
        raise DataFileError(f'label {path} is a file whose decoding changes class ids (JPEG, lossy WebP, or TIFF with '
                            '0 as white): save class ids as an 8-bit PNG')
    try:
        label, mode = _decoded_label(data)
    except DAMAGED as error:
        raise DataFileError(f'label {path} is damaged or no image ({error}): copy or download it again, or remove '
                            'the file and its image') from error
    if label.ndim != 2:
        raise DataFileError(f'label {path} has {label.shape[2]} channels: class ids are needed, one number a pixel '
                            '(8-bit grey or palette PNG). Convert colours or packed ids to class ids first')
    bits = small_grey_bits(data)
    return _as_class_ids(path, label if bits is None else label // (255 // (2**bits - 1))), mode


def check_same_size(image_path: str, image_hw: tuple[int, int], label_path: str, label_hw: tuple[int, int]) -> None:
    """Raises :class:`DataFileError` if an image and its label differ in height or width."""
    if tuple(image_hw) != tuple(label_hw):
        raise DataFileError(
            f'image {image_path} is {image_hw[1]}x{image_hw[0]} (width x height), its label {label_path} is '
            f'{label_hw[1]}x{label_hw[0]}: they must be equal. Resize the label with nearest-neighbour '
            'interpolation, or remove an EXIF rotation of the image')


def _decoded(path: str, data: bytes, color_type: str) -> np.ndarray:
    """Decodes to the depth of the file."""
    quick = quick_png(data, 3) if color_type == 'color' and is_plain_colour_png(data) else None
    if quick is not None:
        return cv2.cvtColor(quick, cv2.COLOR_RGB2BGR)
    # OpenCV refuses to turn deep TIFFs into colour images.
    flags = cv2.IMREAD_UNCHANGED if is_deep_tiff(data) else COLOR_TYPES[color_type] | cv2.IMREAD_ANYDEPTH
    flags = cv2.IMREAD_UNCHANGED if color_type == 'unchanged' else flags
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DataFileError(f'{path} cannot be decoded ({error}): copy or download this image again') from error
    if image is None:
        raise DataFileError(f'{path} is damaged or no image ({len(data)} bytes): copy or download it again, or '
                            'remove the file and its label')
    if is_deep_tiff(data) and color_type == 'color' and image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2)
    if is_deep_tiff(data) and color_type == 'grayscale' and image.ndim == 3:
        raise DataFileError(f"image {path} has {image.shape[2]} channels of {image.dtype}: color_type='grayscale' is "
                            'for files with one')
    return image[..., :3] if color_type == 'color' else image


def _decoded_label(data: bytes) -> tuple[np.ndarray, str]:
    if is_plain_grey_png(data) and END_MARKS[PNG] in data[-TAIL:]:
        label = quick_png(data, 1)
        if label is not None:
            return label, 'L'
        # OpenCV is quicker than Pillow; what it does not read, Pillow explains.
        label = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if label is not None and label.ndim == 2 and label.dtype == np.uint8:
            return label, 'L'
    try:
        with _opened(data) as image:
            return np.array(image), image.mode
    except Image.DecompressionBombError:
        # OpenCV reads larger files, and gives the numbers of those that have no palette.
        if not data.startswith(TIFF) or is_palette_tiff(data) or small_grey_bits(data):
            raise
        label = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if label is None:
            raise
        return label, 'L'


def _as_class_ids(path: str, label: np.ndarray) -> np.ndarray:
    if label.dtype in (bool, np.uint8):
        return label.astype(np.uint8, copy=False)
    if not np.issubdtype(label.dtype, np.integer):
        raise DataFileError(f'label {path} holds {label.dtype} numbers: save class ids as an 8-bit PNG')
    if label.size and (label.min() < 0 or label.max() > 255):
        raise DataFileError(f'label {path} holds numbers from {label.min()} to {label.max()}: class ids lie in '
                            '[0, 254] and 255 means ignore. Convert the ids first (tools/dataset_converters)')
    return label.astype(np.uint8)


def _opened(data: bytes) -> Image.Image:
    """Opens an image file; a PNG or TIFF of any size, where ``Image.open`` has a limit that orthophotos exceed."""
    if data.startswith(PNG):
        return PngImagePlugin.PngImageFile(io.BytesIO(data))
    if data.startswith(TIFF):
        return TiffImagePlugin.TiffImageFile(io.BytesIO(data))
    return Image.open(io.BytesIO(data))


def _read_bytes(path: str, what: str, backend_args: dict | None) -> bytes:
    try:
        data = fileio.get(path, backend_args=backend_args)
    except FileNotFoundError as error:
        raise MissingFileError(f'{what} {path} does not exist: check data_root, data_prefix and the suffix of the '
                               'dataset config, or put the file there') from error
    except OSError as error:
        raise DataFileError(f'{what} {path} cannot be read: {error}') from error
    if not data:
        raise DataFileError(f'{what} {path} is empty (0 bytes): copy or download it again')
    return data


def _refuse_pages(path: str, what: str, data: bytes) -> None:
    if has_pages(data):
        raise DataFileError(f'{what} {path} holds several pictures (pages or an animation), of which one would be read'
                            ': save each as a file of its own')


def _refuse_truncated(path: str, data: bytes) -> None:
    """Decoders of OpenCV fill the missing part of a cut-off file with grey or black and do not complain."""
    for start, end in END_MARKS.items():
        if data.startswith(start) and end not in data[-TAIL:]:
            try:
                with _opened(data) as image:
                    image.load()
            except DAMAGED as error:
                raise DataFileError(f'image {path} is cut off ({error}): copy or download it again') from error
