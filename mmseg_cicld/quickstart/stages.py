"""The quick start: renders the street set and adapts to it as ``tools/adapt.py`` does with any data."""
import re
from pathlib import Path

from mmseg.datasets import CityscapesDataset

from ..adapt.data_description import DataDescription, Images, with_classes
from ..adapt.options import Options
from ..adapt.report_stage import REPORT, SUMMARY
from ..adapt.stages import is_finished, plan_stages, run_adaptation
from ..datasets.street_set import StreetCounts, render_street_set
from ..json_files import read_json
from ..processor_cores import usable_cores
from ..progress import Progress
from .options import OptionsChanged, QuickstartOptions


def run_quickstart(options: QuickstartOptions, progress: Progress) -> str:
    """Runs what is not finished yet.

    Args:
        options: Their folder has been claimed with ``claim_folder``.
        progress: Shows the stages.

    Returns:
        A sentence with the result.
    """
    if not is_finished(options.work_dir):
        adaptation = Options(options.work_dir, seed=options.seed, stages=(options.source_iters, options.adapt_iters))
        # Seconds on two quiet cores.
        progress.plan('street', 'street set', 2 + 0.12 * options.images)
        plan_stages(adaptation, progress)
        _render(options, progress)
        run_adaptation(adaptation, street_data(options.data_root), progress)
    summary = read_json(options.work_dir / SUMMARY, {})
    return (f'source-only {summary["source_only_miou"]:.1f} mIoU, adapted {summary["adapted_miou"]:.1f} mIoU; '
            f'{options.work_dir / SUMMARY} and {options.work_dir / REPORT}')


def street_data(root: Path) -> DataDescription:
    """Describes a rendered street set; the labels of the target's training images are not used."""
    def images(domain: str, split: str, labelled: bool) -> Images:
        labels = root / domain / 'gtFine' / split if labelled else None
        return Images.found(root / domain / 'leftImg8bit' / split, labels, f'{domain} {split}')

    meta = CityscapesDataset.METAINFO
    return with_classes(images('source', 'train', True), images('target', 'train', False),
                        images('target', 'val', True), dict(classes=meta['classes'], palette=meta['palette']))


def _render(options: QuickstartOptions, progress: Progress) -> None:
    """Renders what is missing of the street set."""
    progress.start('street')

    def report(line: str) -> None:
        if found := re.search(r'(\d+)/(\d+) images', line):
            progress.update('street', int(found[1]), int(found[2]), 'images')

    counts = StreetCounts(options.images, max(1, options.images // 8), options.images, max(2, options.images // 4))
    # A few images are done before further processes have started.
    nproc = usable_cores() if options.images >= 100 else 1
    try:
        rendered = render_street_set(options.data_root, counts, nproc=nproc, report=report)
    except ValueError as error:
        raise OptionsChanged(f'{error} The folder is --data-root.') from error
    if rendered:
        progress.finish('street', f'{rendered} images rendered into {options.data_root}')
    else:
        progress.skip('street', f'{options.data_root} is complete')
