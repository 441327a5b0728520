"""Colour jitter, grey and Gaussian blur as torchvision defines them, each image for itself (VFM-UDA++).

Under the same names as :mod:`strong_augmentation` these are other operations: brightness multiplies, contrast blends
with the mean grey of the image, saturation with its grey values. Shape suffixes: B images, C=3 RGB channels, H and W.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmseg.registry import MODELS
from torch import Tensor

from .strong_augmentation import gaussian_blur, hsv_to_rgb, refuse_other_than_8bit_rgb, rgb_to_hsv

GREY_WEIGHTS = (0.2989, 0.587, 0.114)
RANGES = dict(brightness=None, contrast=None, saturation=None, hue=0.5, jitter_probability=1.0,
              grey_probability=1.0, blur_probability=1.0)


@MODELS.register_module()
@dataclass(frozen=True)
class PhotometricAugmentation:
    """torchvision's ``ColorJitter``, ``RandomGrayscale`` and ``GaussianBlur``, one after the other, for 8-bit RGB.

    The defaults are those of source images in VFM-UDA++ (Englert and Dubbelman, ICCVW 2025).

    Args:
        brightness: Factors lie in [max(0, 1 - brightness), 1 + brightness].
        contrast: Likewise.
        saturation: Likewise.
        hue: The shift lies in [-hue, hue] turns, at most 0.5.
        jitter_probability: Probability in [0, 1] that an image is jittered.
        grey_probability: Probability in [0, 1] that it loses its colours.
        blur_probability: Probability in [0, 1] that it is blurred, with a kernel of a tenth of its sides.
        blur_sigma: Least and largest standard deviation of the blur in pixels.

    Raises:
        ValueError: If a value is out of its range.
    """

    brightness: float = 0.8
    contrast: float = 0.8
    saturation: float = 0.8
    hue: float = 0.4
    jitter_probability: float = 0.8
    grey_probability: float = 0.1
    blur_probability: float = 0.5
    blur_sigma: tuple[float, float] = (0.15, 3.0)

    def __post_init__(self) -> None:
        for key, most in RANGES.items():
            value = getattr(self, key)
            if value < 0 or (most is not None and value > most):
                allowed = '0 and more' if most is None else f'values in [0, {most:g}]'
                raise ValueError(f'PhotometricAugmentation got {key}={value}, allowed are {allowed}')
        if len(self.blur_sigma) != 2 or not 0 < self.blur_sigma[0] <= self.blur_sigma[1]:
            raise ValueError(f'PhotometricAugmentation got blur_sigma={self.blur_sigma}: give the least and the largest '
                             'standard deviation in pixels, above 0')
        # A list, as configs are read back, has no hash.
        object.__setattr__(self, 'blur_sigma', tuple(self.blur_sigma))

    def check(self, normalisation: tuple[Tensor, Tensor], key: str) -> None:
        """Refuses images whose colours it cannot jitter, see :func:`refuse_other_than_8bit_rgb`."""
        refuse_other_than_8bit_rgb(type(self).__name__, normalisation, key)

    def __call__(self, images_BCHW: Tensor, normalisation: tuple[Tensor, Tensor],
                 uniform: Callable[..., np.ndarray | float], indices: Sequence[int]) -> Tensor:
        """Augments a batch; all that is random is drawn for each image.

        Args:
            images_BCHW: Normalised images.
            normalisation: Mean and std [1, C, 1, 1] in units of 8-bit images.
            uniform: ``uniform(name, *key, size=...)`` draws numbers in [0, 1).
            indices: Index of each image over all processes, keys its draws.
        """
        mean, std = normalisation
        with torch.autocast(images_BCHW.device.type, enabled=False):
            colours_BCHW = (images_BCHW * std + mean) / 255
            changed = [self._changed(colours_CHW[None], uniform, index)
                       for colours_CHW, index in zip(colours_BCHW, indices, strict=True)]
            return (torch.cat(changed) * 255 - mean) / std

    def _changed(self, colours_1CHW: Tensor, uniform: Callable, index: int) -> Tensor:
        jitters, greys, blurs = np.asarray(uniform('coins', index, size=3)) < (
            self.jitter_probability, self.grey_probability, self.blur_probability)
        if jitters:
            draws = np.asarray(uniform('jitter', index, size=8))
            colours_1CHW = blended_jitter(colours_1CHW, np.argsort(draws[:4]).tolist(), self._factors(draws[4:]))
        if greys:
            colours_1CHW = grey(colours_1CHW).expand_as(colours_1CHW)
        if blurs:
            low, high = self.blur_sigma
            colours_1CHW = gaussian_blur(colours_1CHW, [low + (high - low) * float(uniform('blur_sigma', index))])
        return colours_1CHW

    def _factors(self, draws: np.ndarray) -> list[float]:
        widths = (self.brightness, self.contrast, self.saturation)
        factors = [max(0.0, 1 - width) + draw * (1 + width - max(0.0, 1 - width)) for width, draw in zip(widths, draws)]
        return [*map(float, factors), float(self.hue * (2 * draws[3] - 1))]


def blended_jitter(colours_BCHW: Tensor, order: Sequence[int], factors: Sequence[float]) -> Tensor:
    """Applies the four operations of torchvision's ``ColorJitter`` one after the other.

    Args:
        colours_BCHW: RGB in [0, 1].
        order: Permutation of 0 brightness, 1 contrast, 2 saturation, 3 hue.
        factors: Factor of each operation, indexed by operation; the hue factor is in turns.
    """
    for index in order:
        if index == 3:
            hue, _, value = rgb_to_hsv(colours_BCHW)
            saturation = (value - colours_BCHW.amin(dim=1)) / torch.where(value == 0, 1, value)
            colours_BCHW = hsv_to_rgb((hue + factors[3]) % 1, saturation, value)
            continue
        grey_B1HW = 0 if index == 0 else grey(colours_BCHW)
        other = grey_B1HW.mean(dim=(1, 2, 3), keepdim=True) if index == 1 else grey_B1HW
        colours_BCHW = (factors[index] * colours_BCHW + (1 - factors[index]) * other).clamp(0, 1)
    return colours_BCHW


def grey(colours_BCHW: Tensor) -> Tensor:
    """Returns the grey value of each pixel, [B, 1, H, W]."""
    weights = colours_BCHW.new_tensor(GREY_WEIGHTS)[:, None, None]
    return (colours_BCHW * weights).sum(dim=1, keepdim=True)
