"""The quicker of two decoders of PNG, where it is installed."""
import functools
import importlib.util
from collections.abc import Callable

import numpy as np


@functools.cache
def png_decoder() -> Callable[[bytes], np.ndarray] | None:
    """Returns the decoder of imagecodecs, which takes a third less time than OpenCV's with PNG; None if it is not there.

    Both are libpng with its checks, that of imagecodecs with a newer zlib.
    """
    if importlib.util.find_spec('imagecodecs') is None:
        return None
    from imagecodecs import png_decode
    return png_decode


def quick_png(data: bytes, channels: int) -> np.ndarray | None:
    """Decodes an 8-bit PNG where that is quicker than OpenCV and the same.

    Args:
        data: The file.
        channels: 3 for colours, 1 for grey.

    Returns:
        uint8 [H, W, 3] in RGB order or [H, W]; None if another decoder has to do it.
    """
    decode = png_decoder()
    if decode is None:
        return None
    try:
        image = decode(data)
    except Exception:  # OpenCV and Pillow have the last word on what is damaged
        return None
    return image if image.dtype == np.uint8 and image.shape[2:] == ((channels,) if channels > 1 else ()) else None
