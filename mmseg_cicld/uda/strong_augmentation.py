"""Colour jitter and Gaussian blur of mixed images, batched on the device (DACS).

The colour operations are those of kornia 0.5.8, with which the methods were published: additive brightness,
multiplicative contrast, saturation and hue in HSV, in random order. Today's libraries define them differently under
the same names. Shape suffixes: B images, C=3 RGB channels, H and W size.
"""
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

SIGMA_RANGE = (0.15, 1.15)
KERNEL_SHARE = 0.1


@MODELS.register_module()
@dataclass(frozen=True)
class StrongAugmentation:
    """Colour jitter and blur as applied to mixed images, for 8-bit RGB.

    Args:
        jitter_strength: Half width of the factor ranges: brightness, contrast and saturation factors lie in
            [1 - s, 1 + s], the hue shift in [-s, s] turns.
        jitter_probability: Probability in [0, 1] that a batch is jittered, 0.8 in the published configs.
        blur_probability: Probability in [0, 1] that a batch is blurred.
        order_and_blur_of_first: All images take the order of the operations and the blur of the first image, as in
            the published MIC.

    Raises:
        ValueError: If a value is out of its range.
    """

    jitter_strength: float = 0.2
    jitter_probability: float = 0.8
    blur_probability: float = 0.5
    order_and_blur_of_first: bool = False

    def __post_init__(self) -> None:
        for key in ('jitter_strength', 'jitter_probability', 'blur_probability'):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f'augmentation.{key} is {getattr(self, key)}, allowed are values in [0, 1]')

    def check(self, normalisation: tuple[Tensor, Tensor], key: str) -> None:
        """Refuses images whose colours it cannot jitter, see :func:`refuse_other_than_8bit_rgb`."""
        refuse_other_than_8bit_rgb(type(self).__name__, normalisation, key)

    def __call__(self, images_BCHW: Tensor, normalisation: tuple[Tensor, Tensor],
                 uniform: Callable[..., np.ndarray | float], indices: Sequence[int]) -> Tensor:
        """Jitters and blurs a batch; the two coins are shared by the batch, all else is drawn for each image.

        Args:
            images_BCHW: Normalised images.
            normalisation: Mean and std [1, C, 1, 1] in units of 8-bit images.
            uniform: ``uniform(name, *key, size=...)`` draws numbers in [0, 1).
            indices: Index of each image over all processes, keys its draws.
        """
        shared = [0] * len(indices) if self.order_and_blur_of_first else indices
        with torch.autocast(images_BCHW.device.type, enabled=False):
            # 1 - u < p rather than u > 1 - p: exact for the published thresholds 0.2 and 0.5.
            if 1 - uniform('jitter_coin') < self.jitter_probability:
                images_BCHW = self._jitter(images_BCHW, normalisation, uniform, indices, shared)
            if 1 - uniform('blur_coin') < self.blur_probability:
                low, high = SIGMA_RANGE
                sigmas = [low + (high - low) * float(uniform('blur_sigma', i)) for i in shared]
                images_BCHW = gaussian_blur(images_BCHW, sigmas)
        return images_BCHW

    def _jitter(self, images_BCHW: Tensor, normalisation: tuple[Tensor, Tensor], uniform: Callable,
                indices: Sequence[int], order_indices: Sequence[int]) -> Tensor:
        mean, std = normalisation
        colours_BCHW = (images_BCHW * std + mean) / 255
        jittered = []
        for colours_CHW, index, order_index in zip(colours_BCHW, indices, order_indices):
            order = np.argsort(np.asarray(uniform('jitter', order_index, size=8))[:4])
            factors = (2 * np.asarray(uniform('jitter', index, size=8))[4:] - 1) * self.jitter_strength + np.array([1, 1, 1, 0])
            jittered.append(colour_jitter(colours_CHW[None], order.tolist(), factors.tolist()))
        return (torch.cat(jittered) * 255 - mean) / std


def refuse_other_than_8bit_rgb(augmentation: str, normalisation: tuple[Tensor, Tensor], key: str) -> None:
    """Refuses images whose colours cannot be jittered.

    Args:
        augmentation: Name of the augmentation, for the message.
        normalisation: Mean and std [1, C, 1, 1] of the data preprocessor.
        key: The key of the config to change.

    Raises:
        ValueError: If they have not three channels of values in [0, 255].
    """
    mean, std = normalisation
    brightest, spread = float(mean.max()), float(std.max())
    if mean.shape[1] != 3 or brightest > 255 or brightest + spread <= 2:
        raise ValueError(
            f'the colour jitter of {augmentation} is for 8-bit RGB, but the images have {mean.shape[1]} channels '
            f"with mean {brightest:g} and std {spread:g}: set {key}=dict(type='IntensityAugmentation') in the "
            'objective')


def colour_jitter(colours_BCHW: Tensor, order: Sequence[int], factors: Sequence[float]) -> Tensor:
    """Applies the four colour operations one after the other.

    Args:
        colours_BCHW: RGB in [0, 1].
        order: Permutation of 0 brightness, 1 contrast, 2 saturation, 3 hue.
        factors: Factor of each operation, indexed by operation; the hue factor is in turns.
    """
    operations = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
    for index in order:
        colours_BCHW = operations[index](colours_BCHW, factors[index])
    return colours_BCHW


def adjust_brightness(colours_BCHW: Tensor, factor: float) -> Tensor:
    """Adds ``factor - 1`` and clips to [0, 1]."""
    return (colours_BCHW + (factor - 1)).clamp(0, 1)


def adjust_contrast(colours_BCHW: Tensor, factor: float) -> Tensor:
    """Multiplies by ``factor`` and clips to [0, 1]."""
    return (colours_BCHW * factor).clamp(0, 1)


def adjust_saturation(colours_BCHW: Tensor, factor: float) -> Tensor:
    """Multiplies the saturation by ``factor`` and clips it to [0, 1]."""
    hue, saturation, value = rgb_to_hsv(colours_BCHW)
    return hsv_to_rgb(hue, (saturation * factor).clamp(0, 1), value)


def adjust_hue(colours_BCHW: Tensor, factor: float) -> Tensor:
    """Turns the hue by ``factor`` full turns."""
    hue, saturation, value = rgb_to_hsv(colours_BCHW)
    return hsv_to_rgb(hue + factor, saturation, value)


def rgb_to_hsv(colours_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns hue in turns [0, 1), saturation and value in [0, 1], each [B, H, W]."""
    value, brightest = colours_BCHW.max(dim=1)
    chroma = value - colours_BCHW.amin(dim=1)
    red, green, blue = colours_BCHW.unbind(dim=1)
    divisor = torch.where(chroma == 0, 1, chroma)
    sixths = torch.stack([(green - blue) / divisor, 2 + (blue - red) / divisor, 4 + (red - green) / divisor])
    hue = sixths.gather(0, brightest[None])[0] / 6 % 1
    return hue, chroma / (value + 1e-6), value


def hsv_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Returns RGB [B, 3, H, W] in [0, 1] from hue in turns, saturation and value [B, H, W]."""
    channels = []
    for offset in (5, 3, 1):
        distance = (offset + hue * 6) % 6
        channels.append(value - value * saturation * torch.minimum(distance, 4 - distance).clamp(0, 1))
    return torch.stack(channels, dim=1)


def blur_kernel_size(length: int) -> int:
    """Returns the odd kernel size for an image side: a tenth of it, rounded up, made odd downwards."""
    size = math.ceil(KERNEL_SHARE * length)
    return size if size % 2 else size - 1


def gaussian_blur(images_BCHW: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Blurs each image with its own sigma (pixels), separably, with reflecting borders."""
    batch, channels, height, width = images_BCHW.shape
    flat = images_BCHW.reshape(1, batch * channels, height, width)
    for axis, length in ((2, height), (3, width)):
        size = blur_kernel_size(length)
        kernels = _gaussian_kernels(sigmas, size).repeat_interleave(channels, dim=0).to(flat)
        shape, padding = ((-1, 1, size, 1), (0, 0, size // 2, size // 2)) if axis == 2 else \
            ((-1, 1, 1, size), (size // 2, size // 2, 0, 0))
        flat = F.conv2d(F.pad(flat, padding, mode='reflect'), kernels.reshape(shape), groups=batch * channels)
    return flat.reshape(images_BCHW.shape)


def _gaussian_kernels(sigmas: Sequence[float], size: int) -> Tensor:
    distance = torch.arange(size, dtype=torch.float64) - size // 2
    weights = torch.exp(-distance**2 / (2 * torch.tensor(list(sigmas), dtype=torch.float64)[:, None]**2))
    return weights / weights.sum(dim=1, keepdim=True)
