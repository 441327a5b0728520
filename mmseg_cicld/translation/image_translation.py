"""Translates images of any size: resized if asked for, cut into tiles, batched, and joined again."""
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ..ignore_index import IGNORE_INDEX
from ..random_streams import KeyedStreams
from .errors import TranslationError
from .tiling import TileGrid, TileSettings

_FARTHEST = 2  # how much larger than in training images may be without being asked for
Translate = Callable[[torch.Tensor, torch.Tensor, Sequence[int]], torch.Tensor]


@dataclass(frozen=True)
class NamedImage:
    """One image that is to be translated.

    Args:
        name: Its noise is keyed by this.
        image_HW3: uint8 RGB.
        label_HW: uint8 class ids, 255 = ignore.
    """

    name: str
    image_HW3: np.ndarray
    label_HW: np.ndarray


@dataclass(frozen=True)
class ImageTranslation:
    """How whole images go through a :class:`Translator`.

    Args:
        translate: Takes float images [B, 3, h, w] in [-1, 1], int64 labels [B, h, w] and a seed for each, gives images.
        seed: Seed of all noise; with the name of an image and the number of a tile it gives the noise of the tile.
        multiple: What height and width of a tile are a multiple of.
        batch_size: Number of tiles that are translated at once.
        tile: How images are cut; None takes them whole.
        working_size: Height and width at which images are translated; the result gets the size of the image again. None
            takes images as they are.
        trained_size: Height and width of the images that the diffusion model was trained with, if it is known.
        device: Where ``translate`` works.
    """

    translate: Translate
    seed: int
    multiple: int
    batch_size: int = 1
    tile: TileSettings | None = None
    working_size: tuple[int, int] | None = None
    trained_size: tuple[int, int] | None = None
    device: torch.device | str = 'cpu'

    def __call__(self, images: Sequence[NamedImage]) -> list[np.ndarray]:
        """Returns the translated images, uint8 RGB [H, W, 3]; images of one size share batches.

        Raises:
            TranslationError: If an image that is taken whole is far larger than the diffusion model knows.
        """
        working = [resized(image.image_HW3, image.label_HW, self.working_size) for image in images]
        self._refuse_too_large(images[0].name, working[0][0].shape[:2])
        grids = [TileGrid(image_HW3.shape[0], image_HW3.shape[1], self.tile, self.multiple) for image_HW3, _ in working]
        tiles = [grid.cut(image_HW3) for grid, (image_HW3, _) in zip(grids, working)]
        labels = [grid.cut(label_HW, fill=IGNORE_INDEX) for grid, (_, label_HW) in zip(grids, working)]
        results = [[None] * len(parts) for parts in tiles]
        for batch in self._batches(grids):
            translated = self.translate(
                _stacked([tiles[image][part].transpose(2, 0, 1) for image, part in batch]).to(self.device) / 127.5 - 1,
                _stacked([labels[image][part] for image, part in batch]).to(self.device).long(),
                [self._tile_seed(images[image].name, part) for image, part in batch])
            for (image, part), result_3hw in zip(batch, translated.float().cpu().numpy(), strict=True):
                results[image][part] = result_3hw.transpose(1, 2, 0)
        return [_enlarged(_to_bytes(grid.join(parts)), image.image_HW3.shape[:2])
                for grid, parts, image in zip(grids, results, images)]

    def _refuse_too_large(self, name: str, size: tuple[int, int]) -> None:
        if self.tile is not None or self.trained_size is None:
            return
        if any(length > _FARTHEST * trained for length, trained in zip(size, self.trained_size)):
            raise TranslationError(
                f'{name} has {size[0]} x {size[1]} pixels (height x width), the diffusion model was trained with '
                f'{self.trained_size[0]} x {self.trained_size[1]}: set tile=dict(size={self.trained_size}, '
                'overlap=PIXELS) to cut images, or working_size=(HEIGHT, WIDTH) to shrink them. A tile of another size '
                'is taken as it is')

    def _batches(self, grids: Sequence[TileGrid]) -> Iterator[list[tuple[int, int]]]:
        """Groups pairs (image, tile) of equal tile size."""
        by_size: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for image, grid in enumerate(grids):
            by_size.setdefault(grid.tile_size, []).extend((image, part) for part in range(len(grid.corners)))
        for places in by_size.values():
            yield from (places[start:start + self.batch_size] for start in range(0, len(places), self.batch_size))

    def _tile_seed(self, name: str, part: int) -> int:
        return KeyedStreams(self.seed).integer(f'translation/{name}', part)


def resized(image_HW3: np.ndarray, label_HW: np.ndarray, size: tuple[int, int] | None
            ) -> tuple[np.ndarray, np.ndarray]:
    """Resizes an image (by area where it shrinks) and its label (nearest) to a height and width; None: as they are."""
    if size is None or tuple(size) == image_HW3.shape[:2]:
        return image_HW3, label_HW
    shrinks = size[0] * size[1] < image_HW3.shape[0] * image_HW3.shape[1]
    width_height = size[1], size[0]
    return (cv2.resize(image_HW3, width_height, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC),
            cv2.resize(label_HW, width_height, interpolation=cv2.INTER_NEAREST))


def _enlarged(image_HW3: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if tuple(size) == image_HW3.shape[:2]:
        return image_HW3
    return cv2.resize(image_HW3, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)


def _stacked(arrays: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays))


def _to_bytes(image_HW3: np.ndarray) -> np.ndarray:
    return ((image_HW3.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
