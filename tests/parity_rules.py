"""Deterministic weights, images and checksums of the parity fixtures in ``tests/data/parity``.

The fixtures hold numbers that the published implementation gave for these weights and images. A tensor's value
depends only on its published name and shape, so nothing but numbers had to be stored.
"""
import zlib

import numpy as np
import torch
from torch import Tensor, nn

from mmseg_cicld.models.checkpoint_names import ours_to_reference, reference_to_ours

__all__ = ['checksum', 'fill', 'fill_model', 'image', 'image_u8', 'normalise', 'ours_to_reference',
           'reference_to_ours', 'stats']

MEAN = np.array([123.675, 116.28, 103.53])
STD = np.array([58.395, 57.12, 57.375])


def _generator(key: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(key.encode()))


def fill(name: str, shape: tuple[int, ...], prefix: str = '') -> np.ndarray:
    """Value of the tensor with the published ``name`` and ``shape``: float32, or int64 for a batch counter.

    ``prefix`` tells the networks apart: ``''`` student, ``'ema_model.'`` teacher, ``'imnet_model.'`` frozen network.
    """
    kind = name.rsplit('.', 1)[-1]
    if kind == 'num_batches_tracked':
        return np.zeros(shape, np.int64)
    noise = _generator(prefix + name).standard_normal(tuple(int(s) for s in shape))
    if kind == 'running_mean':
        value = 0.05 * noise
    elif kind == 'running_var':
        value = 1.0 + 0.2 * np.abs(noise)
    elif kind == 'bias':
        value = 0.02 * noise
    elif len(shape) == 1:
        value = 1.0 + 0.1 * noise
    else:
        gain = 3.0 if name.endswith('conv_seg.weight') else 1.0
        value = gain * noise / np.sqrt(int(np.prod(shape[1:])))
    return np.asarray(value).astype(np.float32)


def fill_model(model: nn.Module, prefix: str = '') -> None:
    """Fills a segmentor in place: names and shapes are mapped to the published ones, filled, and mapped back."""
    own = {name: tensor for name, tensor in model.state_dict().items()}
    published = {
        name: torch.from_numpy(fill(name, tuple(tensor.shape), prefix))
        for name, tensor in ours_to_reference(own).items()
    }
    model.load_state_dict(reference_to_ours(published), strict=True)


def image_u8(key: str, shape: tuple[int, int, int, int]) -> np.ndarray:
    """A uint8 RGB batch [B, 3, H, W] of 8-pixel blocks and pixel noise."""
    batch, channels, height, width = shape
    generator = _generator(key)
    blocks = generator.standard_normal((batch, channels, -(-height // 8), -(-width // 8)))
    blocks = blocks.repeat(8, axis=2).repeat(8, axis=3)[:, :, :height, :width]
    noise = generator.standard_normal((batch, channels, height, width))
    return np.clip(np.rint(118.0 + 40.0 * blocks + 20.0 * noise), 0, 255).astype(np.uint8)


def normalise(rgb_u8: np.ndarray) -> np.ndarray:
    """Normalises [B, 3, H, W] with the ImageNet constants in double and rounds to float32."""
    return ((rgb_u8.astype(np.float64) - MEAN[:, None, None]) / STD[:, None, None]).astype(np.float32)


def image(key: str, shape: tuple[int, int, int, int]) -> np.ndarray:
    """A normalised batch, see :func:`image_u8`."""
    return normalise(image_u8(key, shape))


def _flat(values: Tensor | np.ndarray) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().double().cpu().numpy()
    return np.asarray(values, np.float64).ravel()


def checksum(values: Tensor | np.ndarray) -> np.ndarray:
    """Mean, standard deviation, mean magnitude, minimum, maximum, and mean of a random projection (C order)."""
    flat = _flat(values)
    if flat.size == 0:
        return np.full(6, np.nan)
    direction = np.random.default_rng(0).standard_normal(flat.size)
    return np.array([flat.mean(), flat.std(), np.abs(flat).mean(), flat.min(), flat.max(), (flat * direction).mean()])


def stats(values: Tensor | np.ndarray, initial: Tensor | np.ndarray | None = None) -> np.ndarray:
    """Mean, standard deviation, first five values (nan-padded), L2 norm, and L2 distance from ``initial``."""
    flat, first = _flat(values), np.full(5, np.nan)
    first[:min(5, flat.size)] = flat[:5]
    distance = np.nan if initial is None else np.linalg.norm(flat - _flat(initial))
    return np.array([flat.mean(), flat.std(), *first, np.linalg.norm(flat), distance])
