"""Brightness, contrast and blur for images of any number of channels: thermal, radar, X-ray, RGB and infrared.

Shape suffixes: B images, C channels, H and W size.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmseg.registry import MODELS
from torch import Tensor

from .strong_augmentation import SIGMA_RANGE, gaussian_blur


@MODELS.register_module()
@dataclass(frozen=True)
class IntensityAugmentation:
    """Scales and shifts the normalised values of each image, all channels alike, and blurs.

    It stands in for :class:`StrongAugmentation` where images have no hue, or more than 8 bits: nothing is clipped.

    Args:
        jitter_strength: Half width s of the ranges: contrast factors lie in [1 - s, 1 + s], shifts in [-s, s] standard
            deviations of the data preprocessor.
        jitter_probability: Probability in [0, 1] that a batch is scaled and shifted.
        blur_probability: Probability in [0, 1] that a batch is blurred.

    Raises:
        ValueError: If a value is out of its range.
    """

    jitter_strength: float = 0.2
    jitter_probability: float = 0.8
    blur_probability: float = 0.5

    def __post_init__(self) -> None:
        for key in ('jitter_strength', 'jitter_probability', 'blur_probability'):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f'augmentation.{key} is {getattr(self, key)}, allowed are values in [0, 1]')

    def check(self, normalisation: tuple[Tensor, Tensor], key: str) -> None:
        """Accepts all images."""

    def __call__(self, images_BCHW: Tensor, normalisation: tuple[Tensor, Tensor],
                 uniform: Callable[..., np.ndarray | float], indices: Sequence[int]) -> Tensor:
        """Augments a batch; the two coins are shared by the batch, all else is drawn for each image.

        Args:
            images_BCHW: Normalised images.
            normalisation: Not used: normalised values have a unit already.
            uniform: ``uniform(name, *key, size=...)`` draws numbers in [0, 1).
            indices: Index of each image over all processes, keys its draws.
        """
        if uniform('jitter_coin') < self.jitter_probability:
            draws = np.stack([uniform('jitter', index, size=2) for index in indices])
            factors = torch.from_numpy((2 * draws - 1) * self.jitter_strength).to(images_BCHW)[:, :, None, None, None]
            images_BCHW = images_BCHW * (1 + factors[:, 0]) + factors[:, 1]
        if uniform('blur_coin') < self.blur_probability:
            low, high = SIGMA_RANGE
            images_BCHW = gaussian_blur(images_BCHW, [low + (high - low) * float(uniform('blur_sigma', index))
                                                      for index in indices])
        return images_BCHW
