"""Which pixels the places of a feature map stand for: padding to whole strides, and back.

Place i of a map of stride s stands for the pixels from s i to s (i + 1) of the image, or of the image and its padding.
Shape suffixes: B images, C channels, H and W size, h and w size of a map.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def padded_to_multiple(images_BCHW: Tensor, multiple: int) -> Tensor:
    """Pads images with zeros below and on the right until both sides are multiples of ``multiple``."""
    height, width = images_BCHW.shape[2:]
    below, right = -height % multiple, -width % multiple
    return F.pad(images_BCHW, (0, right, 0, below)) if below or right else images_BCHW


def cropped_map(map_BChw: Tensor, stride: int, size: Sequence[int]) -> Tensor:
    """Gives the map of a padded image the places that divide the unpadded one evenly.

    Args:
        map_BChw: Map of the padded image.
        stride: Pixels to a place.
        size: Height and width of the unpadded image.

    Returns:
        [B, C, ceil(H / stride), ceil(W / stride)], bilinear at the middle of each place.
    """
    counts = [-(-side // stride) for side in size]
    return resampled_map(map_BChw, stride, counts, [side / count for side, count in zip(size, counts)])


def resampled_map(map_BChw: Tensor, stride: float, counts: Sequence[int], strides: Sequence[float]) -> Tensor:
    """Reads a map bilinearly at the middles of other places; beyond its outermost middles it stays constant.

    As a product of matrices it has the same gradients in every run, which torch's interpolation on a GPU has not.

    Args:
        map_BChw: The map.
        stride: Pixels to a place of it.
        counts: Number of rows and columns that are read.
        strides: Pixels to each of them.

    Returns:
        [B, C, *counts].
    """
    if all(new == stride for new in strides):
        return map_BChw[:, :, :counts[0], :counts[1]]
    rows, columns = (_weights(places, stride, count, new, map_BChw.device).to(map_BChw.dtype)
                     for places, count, new in zip(map_BChw.shape[2:], counts, strides))
    return rows @ map_BChw @ columns.T


def _weights(places: int, stride: float, count: int, new_stride: float, device: torch.device) -> Tensor:
    """Returns the linear weights [count, places] with which new places of a row read its old ones."""
    middles = ((torch.arange(count, device=device) + 0.5) * (new_stride / stride) - 0.5).clamp(0, places - 1)
    return (1 - (middles[:, None] - torch.arange(places, device=device)).abs()).clamp(min=0)
