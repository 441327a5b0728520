"""Tiny data of two domains, and runs of an adaptation on them."""
import sys
from dataclasses import dataclass
from pathlib import Path

from mmseg_cicld.adapt.data_description import DataDescription, described
from mmseg_cicld.adapt.options import Options
from mmseg_cicld.adapt.stages import plan_stages, run_adaptation
from mmseg_cicld.progress import Progress

sys.path.insert(0, str(Path(__file__).parents[1] / 'test_datasets'))
from tiny_datasets import CLASSES, write_folder

ITERATIONS = 4


@dataclass(frozen=True)
class Finished:
    """Data, options, what was printed, and the summary of a run."""

    root: Path
    data: DataDescription
    options: Options
    printed: list[str]
    summary: dict


def write_data(root: Path, height: int = 32, width: int = 64) -> Path:
    """Writes both domains, labelled target images and the classes."""
    for seed, (name, count) in enumerate(dict(source=5, target=5, val=2).items()):
        write_folder(root / name, count, name != 'target', height, width, 100 * seed)
    (root / 'classes.txt').write_text('\n'.join(CLASSES) + '\n')
    return root


def describe(root: Path, **changes: object) -> DataDescription:
    """Describes the data of :func:`write_data`."""
    asked = dict(source=(root / 'source/images', root / 'source/labels'), target=root / 'target/images',
                 classes=root / 'classes.txt', validation=(root / 'val/images', root / 'val/labels'))
    return described(**asked | changes)


def run(options: Options, data: DataDescription) -> tuple[dict, list[str]]:
    """Runs an adaptation and returns its summary and what it printed."""
    lines: list[str] = []
    progress = Progress(lines.append, report_every=0)
    plan_stages(options, progress)
    return run_adaptation(options, data, progress), lines
