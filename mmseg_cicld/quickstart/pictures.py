"""Image rows of the report."""
from pathlib import Path

import numpy as np
from mmseg.datasets import CityscapesDataset

from ..visualization import ImageRow, colorize, step_tiles
from .evaluation import Scores

PALETTE: list[list[int]] = CityscapesDataset.METAINFO['palette']
_SHOWN_STEPS = 4


def prediction_rows(source_only: Scores, adapted: Scores) -> list[ImageRow]:
    """Target image, label and both predictions, a row an image."""
    return [ImageRow({
        'target image': example.image,
        'label': colorize(example.label, PALETTE),
        'source-only': colorize(example.prediction, PALETTE),
        'adapted': colorize(after.prediction, PALETTE),
    }) for example, after in zip(source_only.examples, adapted.examples)]


def step_rows(file: Path) -> list[ImageRow]:
    """What the last training step saw: source, target, pseudo-label, weight and mix, a row a sample."""
    with np.load(file) as kept:
        parts = {name: kept[name] for name in kept.files if name != 'mixed_weight'}
    count = min(_SHOWN_STEPS, len(parts['source_image']))
    return [ImageRow(step_tiles(parts, index, PALETTE)) for index in range(count)]
