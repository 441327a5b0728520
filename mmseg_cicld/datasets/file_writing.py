"""Writes files so that a killed program leaves the old file or the new one, never half of it."""
import json

import cv2
import numpy as np

from ..atomic_files import write_synced


def write_bytes(path: str, data: bytes) -> None:
    """Writes a file whole, see :func:`write_synced`."""
    write_synced(path, lambda stream: stream.write(data))


def write_png(path: str, image: np.ndarray) -> None:
    """Writes uint8 [H, W] or [H, W, 3] (BGR) as PNG."""
    done, data = cv2.imencode('.png', image)
    if not done:
        raise ValueError(f'cannot encode {path}: {image.dtype} {image.shape}')
    write_bytes(path, data.tobytes())


def write_json(path: str, content: object) -> None:
    """Writes JSON with non-ASCII names as they are."""
    write_bytes(path, json.dumps(content, ensure_ascii=False).encode('utf-8'))
