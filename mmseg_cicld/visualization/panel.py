"""Composes what a training step saw into one picture. Images are RGB uint8 [H, W, 3]."""
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

GAP = 4
TITLE_HEIGHT = 22
SMALLEST_TILE_WIDTH = 200
IGNORED_COLOR = (0, 0, 0)
_PAPER, _INK = 250, (45, 45, 45)
_FONT = cv2.FONT_HERSHEY_SIMPLEX

_TITLES = dict(source_image='source', source_label='source label', augmented_image='augmented source',
               target_image='target', pseudo_label='pseudo-label', pseudo_weight='weight', mixed_image='mix',
               mixed_label='mixed label', mixed_weight='mixed weight', masked_image='masked',
               degraded_source_image='degraded source', degraded_target_image='degraded target',
               augmented_target_image='augmented target', pseudo_confidence='confidence')


def colorize(label: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Paints a label.

    Args:
        label: Integers [H, W].
        palette: RGB of each class; ids beyond it (such as 255 = ignore) become black.

    Returns:
        RGB uint8 [H, W, 3].
    """
    colors = np.full((256, 3), IGNORED_COLOR, np.uint8)
    colors[:len(palette)] = palette
    return colors[label.astype(np.uint8)]


def distinct_colours(count: int) -> list[list[int]]:
    """Returns RGB for classes without a palette; neighbours differ by the golden section of the circle of hues."""
    hues = (np.arange(count) * 0.618034 % 1 * 180).astype(np.uint8)
    values = np.stack([hues, np.full_like(hues, 170), 255 - 55 * (np.arange(count) % 3).astype(np.uint8)], axis=-1)
    return cv2.cvtColor(values[None], cv2.COLOR_HSV2RGB)[0].tolist()


def step_tiles(kept_step: Mapping[str, np.ndarray], index: int, palette: Sequence[Sequence[int]]
               ) -> dict[str, np.ndarray]:
    """Turns what a step kept of one sample into tiles of a panel.

    Args:
        kept_step: Batches by name: ``*_image`` uint8 [B, 3, H, W] RGB, ``*_label`` [B, H, W] class ids and
            ``*_weight`` or ``*_confidence`` [B, H, W] in [0, 1]. Any part may be missing, a source-only step has no
            target.
        index: Which sample of the batch.
        palette: RGB of each class.

    Returns:
        RGB uint8 [H, W, 3] by title, in the order of the method: source, target, mix, masked, degraded,
        confidence of the pseudo-labels. Titles of weights and confidences tell the mean.
    """
    tiles: dict[str, np.ndarray] = {}
    for name, title in _TITLES.items():
        if name not in kept_step:
            continue
        part = np.asarray(kept_step[name][index])
        if name.endswith('_image'):
            tiles[title] = np.ascontiguousarray(part.transpose(1, 2, 0))
        elif name.endswith('_label'):
            tiles[title] = colorize(part, palette)
        else:
            tiles[f'{title}, mean {part.mean():.2f}'] = heat(part)
    return tiles


def compose_panel(rows: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """Lays titled tiles out in rows.

    Small tiles are enlarged so that their titles can be read.

    Args:
        rows: Tiles (RGB uint8 [H, W, 3]) by title, a mapping each row.

    Returns:
        RGB uint8 picture.

    Raises:
        ValueError: If there is nothing to draw.
    """
    if not any(rows):
        raise ValueError('a panel needs at least one tile, all rows are empty')
    strips = [np.concatenate([_titled(title, tile) for title, tile in row.items()], axis=1) for row in rows if row]
    width = max(strip.shape[1] for strip in strips)
    return np.concatenate([_padded(strip, width) for strip in strips])


def heat(weight: np.ndarray) -> np.ndarray:
    """Paints values [H, W] in [0, 1] from dark blue to yellow, RGB uint8 [H, W, 3]."""
    levels = np.clip(np.asarray(weight, np.float32) * 255, 0, 255).round().astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def _titled(title: str, tile: np.ndarray) -> np.ndarray:
    factor = max(1, -(-SMALLEST_TILE_WIDTH // tile.shape[1]))
    tile = tile.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = tile.shape[:2]
    framed = np.full((TITLE_HEIGHT + height + GAP, width + 2 * GAP, 3), _PAPER, np.uint8)
    framed[TITLE_HEIGHT:TITLE_HEIGHT + height, GAP:GAP + width] = tile
    cv2.putText(framed, title, (GAP, TITLE_HEIGHT - 7), _FONT, 0.45, _INK, 1, cv2.LINE_AA)
    return framed


def _padded(strip: np.ndarray, width: int) -> np.ndarray:
    return np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)), constant_values=_PAPER)
