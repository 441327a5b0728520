"""summary.json and report.html of the quick start."""
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from mmseg.datasets import CityscapesDataset

from ..visualization import ImageRow, write_report
from .evaluation import Scores
from .options import QuickstartOptions
from .training import read_curve

SUMMARY, REPORT = 'summary.json', 'report.html'
_PACKAGES = ('torch', 'mmsegmentation', 'onedl-mmsegmentation', 'mmcv-lite', 'mmcv', 'onedl-mmcv', 'mmengine',
             'onedl-mmengine', 'diffusers', 'numpy', 'opencv-python')


def summarise(options: QuickstartOptions, source_only: Scores, adapted: Scores, seconds: dict[str, float]) -> dict:
    """Collects the numbers of a run; mean IoU and IoU in percent, None for a class that does not occur."""
    return dict(
        source_only_miou=source_only.miou,
        adapted_miou=adapted.miou,
        seed=options.seed,
        iterations=dict(source_only=options.source_iters, adaptation=options.adapt_iters),
        images_per_domain=options.images,
        seconds=round(sum(seconds.values()), 1),
        seconds_by_stage={stage: round(value, 1) for stage, value in seconds.items()},
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else f'CPU, {torch.get_num_threads()} threads',
        versions=_versions(),
        per_class={name: dict(source_only=value, adapted=adapted.per_class[name])
                   for name, value in source_only.per_class.items()})


def write_quickstart_report(options: QuickstartOptions, summary: dict, source_folder: Path, adapt_folder: Path,
                            predictions: Sequence[ImageRow], mixes: Sequence[ImageRow]) -> None:
    """Writes the report; the curves of the adaptation begin where those of the source-only training end."""
    curves = {name: {'source-only': read_curve(source_folder, name),
                     'adapted': read_curve(adapt_folder, name, offset=options.source_iters)}
              for name in ('loss', 'miou')}
    curves['miou']['adapted'] = curves['miou']['source-only'][-1:] + curves['miou']['adapted']
    meta = CityscapesDataset.METAINFO
    palette = dict(zip(meta['classes'], meta['palette']))
    write_report(options.work_dir / REPORT, summary, curves, predictions, mixes, palette)


def _versions() -> dict[str, str]:
    found = dict(python=platform.python_version())
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # One of the two stacks is installed, not both.
    return found
