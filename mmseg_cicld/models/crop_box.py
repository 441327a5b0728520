"""Crop boxes and sliding windows as plain values: they travel with a call and are stored nowhere.

Shape suffixes: B images, C channels, H and W height and width.
"""
from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from .export_tracing import is_exported


class CropBox(NamedTuple):
    """Rows [y1, y2) and columns [x1, x2) in pixels."""

    y1: int
    y2: int
    x1: int
    x2: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.y2 - self.y1, self.x2 - self.x1

    def crop(self, maps: Tensor) -> Tensor:
        """Cuts the box out of the last two dimensions."""
        return maps[..., self.y1:self.y2, self.x1:self.x2]

    def placed(self, part: Tensor, size: tuple[int, int]) -> Tensor:
        """Lays a map [..., h, w] of the box's size on zeros [..., H, W] of another; the inverse of :meth:`crop`."""
        return F.pad(part, (self.x1, size[1] - self.x2, self.y1, size[0] - self.y2))

    def scaled(self, of: tuple[int, int], to: tuple[int, int]) -> 'CropBox':
        """Returns the box on a map of size ``to`` that shows what lies on ``of``; fractions are cut off."""
        return CropBox(self.y1 * to[0] // of[0], self.y2 * to[0] // of[0],
                       self.x1 * to[1] // of[1], self.x2 * to[1] // of[1])


class MultiScaleFeatures(NamedTuple):
    """Features of a whole image at a coarse scale and of windows of it at full scale.

    Args:
        context: Feature maps of the down-scaled image, finest first.
        detail: Feature maps of the windows in chunks; in a chunk, all images of the first window come first, then
            all of the next.
        windows: Where the windows lie in the full-scale image. Several ones cover it, a single one may not.
        size: Height and width of the full-scale image.
    """

    context: tuple[Tensor, ...]
    detail: tuple[tuple[Tensor, ...], ...]
    windows: tuple[CropBox, ...]
    size: tuple[int, int]


def random_crop_box(size: tuple[int, int], crop: tuple[int, int], divisible: int, draws: Sequence[float]) -> CropBox:
    """Places a crop at random.

    The offsets are the multiples of ``divisible`` below ``(margin + 1) // divisible``, where the margin is what the
    crop leaves over. As published, that never reaches the last rows and columns if the margin itself is a multiple.

    Args:
        size: Height and width of the image.
        crop: Height and width of the crop, at most those of the image.
        divisible: Grid of the offsets in pixels.
        draws: Two numbers in [0, 1), for row and column.
    """
    offsets = []
    for side, crop_side, draw in zip(size, crop, draws):
        positions = max((side - crop_side + 1) // divisible, 1)
        offsets.append(int(draw * positions) * divisible)
    (y1, x1), (height, width) = offsets, crop
    return CropBox(y1, y1 + height, x1, x1 + width)


def sliding_windows(size: tuple[int, int], crop: tuple[int, int], stride: tuple[int, int]) -> tuple[CropBox, ...]:
    """Covers an image with windows, row by row; the last ones are moved back into the image.

    Args:
        size: Height and width of the image. Where it is smaller than the window, so is the window.
        crop: Height and width of a window.
        stride: Steps between windows.
    """
    starts = []
    for side, crop_side, step in zip(size, crop, stride):
        count = max(side - crop_side + step - 1, 0) // step + 1
        starts.append([max(min(index * step, side - crop_side), 0) for index in range(count)])
    return tuple(CropBox(y, min(y + crop[0], size[0]), x, min(x + crop[1], size[1])) for y in starts[0]
                 for x in starts[1])


def average_windows(parts: Sequence[Tensor], windows: Sequence[CropBox], size: tuple[int, int]) -> Tensor:
    """Lays windows over each other and averages where they overlap; what none covers is zero.

    Args:
        parts: A map [B, C, h, w] for each window.
        windows: Where each lies in the result.
        size: Height and width H, W of the result.

    Returns:
        [B, C, H, W].
    """
    batch, channels = parts[0].shape[:2]
    total = parts[0].new_zeros(batch, channels, *size)
    count = parts[0].new_zeros(1, 1, *size)
    for part, window in zip(parts, windows):
        one = part.new_ones(1, 1, *part.shape[2:])
        if is_exported():  # the tracing exporter loses what is written in place into a part of a map
            total, count = total + window.placed(part, size), count + window.placed(one, size)
        else:
            window.crop(total).add_(part)
            window.crop(count).add_(one)
    return total / count.clamp(min=1)
