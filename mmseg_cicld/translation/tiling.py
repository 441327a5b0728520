"""Cuts images into tiles that a network can take, and joins the results without seams.

Tiles overlap. In an overlap each tile counts the less, the nearer its own edge is, and the weights of all tiles add
up to one, so that neighbours fade into each other. An image that is too small, or of a size that the network cannot
take, is mirrored at its right and lower edge; what was added is cut off again.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import TranslationError


@dataclass(frozen=True)
class TileSettings:
    """How large images are cut.

    Args:
        size: Height and width of a tile in pixels.
        overlap: Least number of pixels that neighbours share.

    Raises:
        TranslationError: If the overlap is negative or not smaller than a tile.
    """

    size: tuple[int, int]
    overlap: int = 64

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1 or not 0 <= self.overlap < min(self.size):
            raise TranslationError(f'tile has size={tuple(self.size)} and overlap={self.overlap}: size is a height and '
                                   'a width in pixels, and overlap is at least 0 and smaller than both')


class TileGrid:
    """Where the tiles of one image lie.

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        tile: How to cut; None takes the image whole.
        multiple: The network takes heights and widths that are multiples of this.
    """

    def __init__(self, height: int, width: int, tile: TileSettings | None = None, multiple: int = 1) -> None:
        self.size = height, width
        if tile is None:
            self.tile_size, overlap = (_rounded_up(height, multiple), _rounded_up(width, multiple)), 0
        else:
            self.tile_size, overlap = tuple(tile.size), tile.overlap
        self.padded_size = max(height, self.tile_size[0]), max(width, self.tile_size[1])
        places = [_places(length, part, overlap) for length, part in zip(self.padded_size, self.tile_size)]
        self.corners = [(top, left) for top in places[0] for left in places[1]]
        self._fades = [dict(zip(starts, _fades(starts, part))) for starts, part in zip(places, self.tile_size)]

    def cut(self, image: np.ndarray, fill: int | None = None) -> list[np.ndarray]:
        """Cuts an image.

        Args:
            image: [H, W] or [H, W, C].
            fill: What to add where the image is too small; None mirrors the image.

        Returns:
            A tile for each of ``corners``.
        """
        if image.shape[:2] != self.size:
            raise ValueError(f'the grid is for images of {self.size}, not {image.shape[:2]}')
        missing = [(0, padded - length) for padded, length in zip(self.padded_size, self.size)]
        missing += [(0, 0)] * (image.ndim - 2)
        how = dict(mode='symmetric') if fill is None else dict(mode='constant', constant_values=fill)
        padded = np.pad(image, missing, **how)
        height, width = self.tile_size
        return [padded[top:top + height, left:left + width] for top, left in self.corners]

    def join(self, tiles: Sequence[np.ndarray]) -> np.ndarray:
        """Joins tiles to an image.

        Args:
            tiles: Floats [h, w, C], one for each of ``corners``.

        Returns:
            float32 [H, W, C].
        """
        total = np.zeros((*self.padded_size, tiles[0].shape[-1]), np.float64)
        height, width = self.tile_size
        for (top, left), tile in zip(self.corners, tiles, strict=True):
            weight_hw = self._fades[0][top][:, None] * self._fades[1][left][None]
            total[top:top + height, left:left + width] += weight_hw[..., None] * tile
        return total[:self.size[0], :self.size[1]].astype(np.float32)


def _rounded_up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _places(length: int, part: int, overlap: int) -> list[int]:
    """Spreads the starts of as few parts as needed evenly from the first to the last possible place."""
    steps = -(-(length - part) // (part - overlap))
    return [round(index * (length - part) / steps) for index in range(steps + 1)] if steps else [0]


def _fades(starts: Sequence[int], part: int) -> list[np.ndarray]:
    """Weights of each part along one axis (float64 [part]); at every place those of all parts add up to 1."""
    length = starts[-1] + part
    weights = np.zeros((len(starts), length))
    for index, start in enumerate(starts):
        shape = np.ones(part)
        if index:
            _rise(shape, starts[index - 1] + part - start)
        if index + 1 < len(starts):
            _rise(shape[::-1], start + part - starts[index + 1])
        weights[index, start:start + part] = shape
    weights /= weights.sum(0)
    return [row[start:start + part] for row, start in zip(weights, starts)]


def _rise(shape: np.ndarray, overlap: int) -> None:
    """Lets weights rise from nearly 0 to 1 over the first ``overlap`` places, smoothly at both ends."""
    shape[:overlap] *= np.sin(np.pi / 2 * (np.arange(overlap) + 0.5) / max(overlap, 1)) ** 2
