"""The stages of the quick start: data, source-only training, adaptation, evaluation, report."""
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from mmseg.utils import register_all_modules

from ..datasets.class_statistics import count_files, label_files, write_statistics
from ..datasets.label_audit import build_without_pipeline
from ..datasets.rare_class_sampling import STATS_FILE
from ..datasets.street_set import StreetCounts, render_street_set
from ..processor_cores import usable_cores
from ..progress import Progress
from .evaluation import Scores, evaluate
from .files import read_json, write_json
from .options import OptionsChanged, QuickstartOptions
from .pictures import prediction_rows, step_rows
from .reporting import REPORT, SUMMARY, summarise, write_quickstart_report
from .training import LAST_STEP, quickstart_config, recorded_seconds, set_iterations, train

SOURCE_CONFIG, ADAPT_CONFIG = 'source_only_street', 'adapt_street'
_SHOWN_IMAGES = 5
_LOG, _DATA_SECONDS = 'console.log', 'data_seconds.json'
_TITLES = dict(data='street set', source='source-only training', adapt='adaptation', report='evaluation and report')


def run_quickstart(options: QuickstartOptions, progress: Progress) -> str:
    """Runs what is not finished yet.

    Args:
        options: Their folder has been claimed with ``claim_folder``.
        progress: Shows the stages.

    Returns:
        A sentence with the result.
    """
    if not all((options.work_dir / name).is_file() for name in (SUMMARY, REPORT)):
        register_all_modules()
        for name, seconds in _plan(options).items():
            progress.plan(name, _TITLES[name], seconds)
        _data_stage(options, progress)
        source = _training_stage('source', SOURCE_CONFIG, options.source_iters, None, options, progress)
        adapted = _training_stage('adapt', ADAPT_CONFIG, options.adapt_iters, source, options, progress)
        _report_stage(source, adapted, options, progress)
    summary = read_json(options.work_dir / SUMMARY, {})
    return (f'source-only {summary["source_only_miou"]:.1f} mIoU, adapted {summary["adapted_miou"]:.1f} mIoU; '
            f'{options.work_dir / SUMMARY} and {options.work_dir / REPORT}')


def _plan(options: QuickstartOptions) -> dict[str, float]:
    """Seconds of the stages on two quiet cores without a GPU, for the first estimate of the remaining time."""
    return dict(data=2 + 0.12 * options.images, source=12 + 0.16 * options.source_iters,
                adapt=12 + 0.32 * options.adapt_iters, report=12)


def _data_stage(options: QuickstartOptions, progress: Progress) -> None:
    """Renders the street set and counts its classes, as far as that has not been done."""
    progress.start('data')

    def report(line: str) -> None:
        if found := re.search(r'(\d+)/(\d+) images', line):
            progress.update('data', int(found[1]), int(found[2]), 'images')

    counts = StreetCounts(options.images, max(1, options.images // 8), options.images, max(2, options.images // 4))
    # A few images are done before further processes have started.
    nproc = usable_cores() if options.images >= 100 else 1
    try:
        rendered = render_street_set(options.data_root, counts, nproc=nproc, report=report)
    except ValueError as error:
        raise OptionsChanged(f'{error} The folder is --data-root.') from error
    if not (options.data_root / 'source' / STATS_FILE).is_file():
        with _console_to(options.work_dir / _LOG):
            cfg = quickstart_config(SOURCE_CONFIG, options)
            source = build_without_pipeline(cfg.train_dataloader.dataset.source, 'source')
            write_statistics(count_files(label_files(source), nproc), str(options.data_root / 'source'))
    if rendered:
        progress.finish('data', f'{rendered} images rendered into {options.data_root}')
    else:
        progress.skip('data', f'{options.data_root} is complete')
    if not (options.work_dir / _DATA_SECONDS).is_file():
        write_json(options.work_dir / _DATA_SECONDS, progress.seconds('data'))


def _training_stage(stage: str, config: str, iterations: int, start_from: Path | None, options: QuickstartOptions,
                    progress: Progress) -> Path:
    """Trains unless that has been finished, and returns the last checkpoint."""
    cfg = quickstart_config(config, options)
    set_iterations(cfg, iterations)
    last = Path(cfg.work_dir) / f'iter_{iterations}.pth'
    if last.is_file() and (Path(cfg.work_dir) / LAST_STEP).is_file():
        progress.skip(stage, f'finished before: {last}')
        return last
    progress.start(stage)
    with _console_to(options.work_dir / _LOG):
        train(cfg, start_from, lambda done, total: progress.update(stage, done, total, 'iterations'))
    progress.finish(stage, f'{iterations} iterations: {last}')
    return last


def _report_stage(source: Path, adapted: Path, options: QuickstartOptions, progress: Progress) -> None:
    """Evaluates both networks and writes summary and report, the summary last."""
    progress.start('report')
    scores: dict[str, Scores] = {}
    for config, checkpoint in ((SOURCE_CONFIG, source), (ADAPT_CONFIG, adapted)):
        cfg = quickstart_config(config, options)
        with _console_to(options.work_dir / _LOG):
            scores[config] = evaluate(cfg, checkpoint, _SHOWN_IMAGES)
        progress.update('report', len(scores), 2, 'networks evaluated')
    source_only, adapted_scores = scores[SOURCE_CONFIG], scores[ADAPT_CONFIG]
    seconds = dict(data=read_json(options.work_dir / _DATA_SECONDS, 0.0), source_only=recorded_seconds(source.parent),
                   adaptation=recorded_seconds(adapted.parent), evaluation=progress.seconds('report'))
    summary = summarise(options, source_only, adapted_scores, seconds)
    write_quickstart_report(options, summary, source.parent, adapted.parent,
                            prediction_rows(source_only, adapted_scores), step_rows(adapted.parent / LAST_STEP))
    write_json(options.work_dir / SUMMARY, summary)
    progress.finish('report', str(options.work_dir / REPORT))


@contextlib.contextmanager
def _console_to(path: Path) -> Iterator[None]:
    """Sends what libraries print to a file, so that the progress line stays alone on the screen."""
    with path.open('a', buffering=1, encoding='utf-8') as stream, contextlib.redirect_stdout(stream), \
            contextlib.redirect_stderr(stream):
        yield
