"""Tileable fractal noise, the raw material of all textures. Fixed seeds: the same in every process."""
from functools import cache

import cv2
import numpy as np

TILE = 256
"""Edge of a noise tile in texels."""


@cache
def noise_tile(slope: float, seed: int) -> np.ndarray:
    """Makes a tile of noise with a power-law spectrum.

    Args:
        slope: Amplitude falls with frequency ** -slope: 0 is white noise, 1.6 looks like clouds.
        seed: Which tile.

    Returns:
        float32 [TILE, TILE], zero mean, unit deviation, periodic in both directions. Shared: do not write to it.
    """
    white = np.random.default_rng(seed).standard_normal((TILE, TILE))
    frequency = np.fft.fftfreq(TILE)
    radius = np.hypot(frequency[:, None], frequency[None, :TILE // 2 + 1])
    radius[0, 0] = 1.0
    spectrum = np.fft.rfft2(white) * radius ** -slope
    spectrum[0, 0] = 0.0
    tile = np.fft.irfft2(spectrum, s=(TILE, TILE))
    tile = (tile / tile.std()).astype(np.float32)
    tile.setflags(write=False)
    return tile


def sample_tile(tile: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Reads a periodic tile at real coordinates.

    Args:
        tile: float32 [TILE, TILE].
        x: Columns in texels, float32 [H, W], within +-30000.
        y: Rows in texels, same shape.

    Returns:
        Bilinear samples, float32 [H, W].
    """
    return cv2.remap(tile, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
