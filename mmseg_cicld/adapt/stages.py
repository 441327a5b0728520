"""From a described data set to an adapted segmentor: data, source-only training, adaptation, evaluation, report."""
import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config
from mmseg.utils import register_all_modules

from ..engine.folder_lock import locked_folder
from ..engine.runner import AdaptationRunner
from ..engine.stages import STATE, Stage, run_stages
from ..json_files import read_json
from ..processor_cores import usable_cores
from ..progress import Progress
from .choices import expected_seconds
from .data_description import DataDescription
from .data_stage import ADAPTATION, prepare, stage_configs
from .methods import SOURCE_ONLY, check_encoder
from .options import Options, claim_folder
from .progress_hook import ProgressHook
from .report_stage import REPORT, SUMMARY, report_on

_LOG, _LOCK = 'console.log', 'adapt.lock'
_TITLES = {'data': 'data', SOURCE_ONLY: 'source-only training', ADAPTATION: 'adaptation',
           'report': 'evaluation and report'}
# Seconds on two quiet cores without a GPU, for the first estimate of the remaining time.
_PLANNED = dict(data=10.0, report=60.0)


def is_finished(work_dir: Path) -> bool:
    """Whether there is nothing left to do in a work folder."""
    return all((work_dir / name).is_file() for name in (SUMMARY, REPORT))


def plan_stages(options: Options, progress: Progress) -> None:
    """Says which stages there will be."""
    for name in ('data', *(path.stem for path in stage_configs(options)), 'report'):
        progress.plan(name, _TITLES[name], _PLANNED.get(name))


def run_adaptation(options: Options, data: DataDescription, progress: Progress) -> dict:
    """Runs what is not finished yet.

    Args:
        options: What was asked for.
        data: Folders and classes.
        progress: Shows the stages of :func:`plan_stages`.

    Returns:
        What ``summary.json`` holds.

    Raises:
        ValueError: If the data cannot be used, or the folder belongs to another run.
    """
    with locked_folder(options.work_dir, lock=_LOCK):
        check_encoder(options.method)
        claim_folder(options, data)
        if not is_finished(options.work_dir):
            register_all_modules()
            _run(options, data, progress)
        return read_json(options.work_dir / SUMMARY, {})


def _run(options: Options, data: DataDescription, progress: Progress) -> None:
    configs = {path.stem: path for path in stage_configs(options)}
    progress.start('data')
    with _console_to(options.work_dir / _LOG):
        settings = prepare(options, data, usable_cores(), partial(progress.update, 'data'))
    progress.finish('data', f'crop {settings.crop_size[1]} x {settings.crop_size[0]}, batch {settings.batch_size}, '
                            f'{settings.source_only} + {settings.adaptation} iterations')
    for name, seconds in expected_seconds(settings, 'cuda' if torch.cuda.is_available() else 'cpu').items():
        if name in configs:
            progress.expect(name, seconds)
    last = _train(options, configs, progress)
    progress.start('report')
    with _console_to(options.work_dir / _LOG):
        report_on(options, data, settings, last, configs, partial(progress.update, 'report'))
    progress.finish('report', str(options.work_dir / REPORT))


def _train(options: Options, configs: dict[str, Path], progress: Progress) -> dict[str, Path]:
    """Trains what is not finished, and returns the last checkpoint of each stage."""
    stages = [Stage(name, Config.fromfile(path)) for name, path in configs.items()]
    for stage in stages[1:]:
        stage.config.load_from = None  # the weights of the stage before are handed over
    for stage in stages:
        if stage.name in read_json(options.work_dir / STATE, dict(finished={}))['finished']:
            progress.skip(stage.name, f'finished before: {options.work_dir / stage.name}')

    def watch(name: str, runner: AdaptationRunner) -> None:
        runner.register_hook(ProgressHook(name, progress))

    with _console_to(options.work_dir / _LOG):
        run_stages(stages, options.work_dir, watch=watch)
    finished = read_json(options.work_dir / STATE, {})['finished']
    return {name: options.work_dir / finished[name]['checkpoint'] for name in configs}


@contextlib.contextmanager
def _console_to(path: Path) -> Iterator[None]:
    """Sends what libraries print to a file, so that the progress line stays alone on the screen."""
    with path.open('a', buffering=1, encoding='utf-8') as stream, contextlib.redirect_stdout(stream), \
            contextlib.redirect_stderr(stream):
        yield
