"""Families of surface patterns: how much of a second colour is at each spot. No family belongs to a class."""
import numpy as np

from ..street_set.noise import noise_tile, sample_tile


def pattern(family: str, x: np.ndarray, y: np.ndarray, unit: float) -> np.ndarray:
    """Computes a pattern.

    Args:
        family: A key of the families below.
        x: Columns in periods, float32 [H, W].
        y: Rows in periods, same shape.
        unit: Number in [0, 1) from which direction and variation follow.

    Returns:
        Share of the second colour in [0, 1], float32 [H, W].
    """
    turn = np.float32(unit * 23 % 1 * np.pi)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    return _FAMILIES[family](along, across, unit)


def _plain(x: np.ndarray, y: np.ndarray, unit: float) -> np.ndarray:
    return np.zeros_like(x)


def _stripes(x: np.ndarray, y: np.ndarray, unit: float) -> np.ndarray:
    return (_phase(x) < 0.35 + 0.3 * (unit * 7 % 1)).astype(np.float32)


def _checks(x: np.ndarray, y: np.ndarray, unit: float) -> np.ndarray:
    return ((np.floor(x) + np.floor(y)) % 2).astype(np.float32)


def _dots(x: np.ndarray, y: np.ndarray, unit: float) -> np.ndarray:
    away = np.hypot(_phase(x + 0.5 * (np.floor(y) % 2)) - 0.5, _phase(y) - 0.5)
    return (away < 0.22 + 0.16 * (unit * 7 % 1)).astype(np.float32)


def _marble(x: np.ndarray, y: np.ndarray, unit: float) -> np.ndarray:
    return (0.5 + 0.5 * np.sin(3.0 * x + 2.6 * _noise(1.4, 81, x, y, 5.0, unit))) ** 2


def _wood(x: np.ndarray, y: np.ndarray, unit: float) -> np.ndarray:
    rings = 1.3 * y + 0.9 * _noise(1.5, 82, x, y, 1.6, unit)
    return 0.75 * _phase(rings) + 0.25 * np.clip(0.5 + 0.4 * _noise(0.3, 83, 0.1 * x, y, 30.0, unit), 0, 1)


def _camouflage(x: np.ndarray, y: np.ndarray, unit: float) -> np.ndarray:
    level = _noise(1.3, 84, x, y, 7.0, unit)
    return 0.5 * (level > -0.35).astype(np.float32) + 0.5 * (level > 0.45)


def _zigzag(x: np.ndarray, y: np.ndarray, unit: float) -> np.ndarray:
    return (_phase(y + np.abs(_phase(x) - 0.5)) < 0.45).astype(np.float32)


def _phase(values: np.ndarray) -> np.ndarray:
    return values - np.floor(values)


def _noise(slope: float, seed: int, x: np.ndarray, y: np.ndarray, texels: float, unit: float) -> np.ndarray:
    """Noise with a number of texels a period, at a place that belongs to the unit."""
    return sample_tile(noise_tile(slope, seed), x * np.float32(texels) + np.float32(unit * 251), y * np.float32(texels))


_FAMILIES = {'plain': _plain, 'stripes': _stripes, 'checks': _checks, 'dots': _dots, 'marble': _marble, 'wood': _wood,
             'camouflage': _camouflage, 'zigzag': _zigzag}
