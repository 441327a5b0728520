"""Pictures of predictions, which a report shows: a file of them, and the rows that are drawn of it."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ..atomic_files import replacing
from .panel import colorize, heat
from .report_parts import ImageRow
from .training_record import FOLDER

EXAMPLES = 'examples.npz'
_WIDTH = 480


@dataclass(frozen=True)
class Example:
    """One image and what networks make of it.

    Args:
        image: RGB uint8 [H, W, 3].
        label: Class ids, uint8 [H, W]; None for an image without a label.
        predictions: Class ids, uint8 [H, W], by the name of the network.
        confidence: Probability in [0, 1] of the label of each pixel, float [H, W]; None if it is not known.
    """

    image: np.ndarray
    label: np.ndarray | None
    predictions: Mapping[str, np.ndarray]
    confidence: np.ndarray | None = None


class ExampleFile(NamedTuple):
    """Examples, what predicted them, and names and colours of the classes, as far as they are known."""

    examples: list[Example]
    origin: str
    classes: list[str]
    palette: list[list[int]]


def save_examples(work_dir: Path, examples: Sequence[Example], origin: str, classes: Sequence[str] = (),
                  palette: Sequence[Sequence[int]] = ()) -> None:
    """Writes ``WORK_DIR/report/examples.npz`` for :func:`write_training_report`, no picture wider than it is shown.

    Args:
        work_dir: Folder of a training.
        examples: One or more.
        origin: What predicted them, such as the name of a checkpoint.
        classes: Names of the classes, for a training whose record lacks them.
        palette: RGB of each, likewise.
    """
    arrays: dict[str, Any] = {'origin': np.array(origin), 'classes': np.array(list(classes), dtype=str),
                                     'palette': np.array(list(palette), np.uint8).reshape(-1, 3)}
    for index, example in enumerate(examples):
        arrays[f'{index}/image'] = _shrunk(example.image, cv2.INTER_AREA)
        if example.label is not None:
            arrays[f'{index}/label'] = _shrunk(example.label)
        for name, prediction in example.predictions.items():
            arrays[f'{index}/prediction/{name}'] = _shrunk(prediction)
        if example.confidence is not None:
            arrays[f'{index}/confidence'] = _shrunk(example.confidence.astype(np.float32)).astype(np.float16)
    with replacing(work_dir / FOLDER / EXAMPLES) as temporary, temporary.open('wb') as stream:
        np.savez_compressed(stream, **arrays)


def read_examples(work_dir: Path) -> ExampleFile:
    """Returns what :func:`save_examples` has written; nothing if there is no such file."""
    path = work_dir / FOLDER / EXAMPLES
    if not path.is_file():
        return ExampleFile([], '', [], [])
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    origin, classes, palette = (arrays.pop(name) for name in ('origin', 'classes', 'palette'))
    parts: dict[int, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        index, _, rest = name.partition('/')
        parts.setdefault(int(index), {})[rest] = array
    examples = [Example(part['image'], part.get('label'),
                        {name.removeprefix('prediction/'): array for name, array in part.items()
                         if name.startswith('prediction/')}, part.get('confidence')) for _, part in sorted(parts.items())]
    return ExampleFile(examples, str(origin), classes.tolist(), palette.tolist())


def example_rows(examples: Sequence[Example], palette: Sequence[Sequence[int]]) -> list[ImageRow]:
    """Paints image, label, predictions and confidence, a row an example."""
    rows = []
    for example in examples:
        pictures = {'image': example.image}
        if example.label is not None:
            pictures['label'] = colorize(example.label, palette)
        pictures |= {name: colorize(prediction, palette) for name, prediction in example.predictions.items()}
        if example.confidence is not None:
            pictures[f'confidence, mean {example.confidence.mean(dtype=np.float64):.2f}'] = heat(example.confidence)
        rows.append(ImageRow(pictures))
    return rows


def _shrunk(picture: np.ndarray, interpolation: int = cv2.INTER_NEAREST) -> np.ndarray:
    height, width = picture.shape[:2]
    if width <= _WIDTH:
        return picture
    return cv2.resize(picture, (_WIDTH, max(1, round(height * _WIDTH / width))), interpolation=interpolation)
