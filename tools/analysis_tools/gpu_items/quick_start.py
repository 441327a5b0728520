"""The quick start on a GPU: renders, trains, adapts and evaluates as a user's first command does."""
import time
from pathlib import Path

from mmseg_cicld.adapt.report_stage import SUMMARY
from mmseg_cicld.json_files import read_json
from mmseg_cicld.progress import Progress
from mmseg_cicld.quickstart.options import QuickstartOptions, claim_folder
from mmseg_cicld.quickstart.stages import run_quickstart

from .records import Setting


def quickstart(setting: Setting, folder: Path) -> dict[str, float | str]:
    """Runs all stages with the options that a user gets, or with few images and iterations."""
    numbers = dict(images=8, source_iters=2, adapt_iters=2) if setting.small else {}
    options = QuickstartOptions(folder / 'work', folder / 'street', **numbers)
    began = time.monotonic()
    claim_folder(options)
    run_quickstart(options, Progress(print, whole='whole quick start', report_every=0))
    summary = read_json(options.work_dir / SUMMARY, {})
    return dict(seconds=time.monotonic() - began, device=str(summary['device']),
                source_only_miou=summary['source_only_miou'], adapted_miou=summary['adapted_miou'])
