"""From a described data set to an adapted segmentor: data, source-only training, adaptation, evaluation, report."""
import contextlib
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from mmengine.config import Config
from mmseg.utils import register_all_modules

from ..engine.folder_lock import locked_folder
from ..engine.runner import AdaptationRunner
from ..engine.stages import STATE, Stage, run_stages
from ..progress import Progress
from .choices import Settings
from .data_description import DataDescription
from .data_stage import ADAPTATION, prepare, stage_configs
from .evaluation import Scores
from ..json_files import read_json
from .methods import SOURCE_ONLY
from .options import Options, claim_folder
from .recording import RecordingHook, recorded_seconds
from .report_stage import (SUMMARY, as_json, best_checkpoint, evaluate_stage, export, notes_of, rounded,
                           write_summary)

_LOG, _LOCK = 'console.log', 'adapt.lock'
_TITLES = {'data': 'data', SOURCE_ONLY: 'source-only training', ADAPTATION: 'adaptation',
           'report': 'evaluation and report'}
# Seconds on two quiet cores without a GPU, for the first estimate of the remaining time.
_PLANNED = dict(data=10.0, report=60.0)
_SECONDS = {SOURCE_ONLY: 0.3, ADAPTATION: 0.8}
_PACKAGES = ('torch', 'mmsegmentation', 'onedl-mmsegmentation', 'mmcv-lite', 'mmcv', 'onedl-mmcv', 'mmengine',
             'onedl-mmengine', 'numpy', 'opencv-python')


def run_adaptation(options: Options, data: DataDescription, progress: Progress) -> dict:
    """Runs what is not finished yet.

    Args:
        options: What was asked for.
        data: Folders and classes.
        progress: Shows the stages.

    Returns:
        What ``summary.json`` holds.

    Raises:
        ValueError: If the data cannot be used, or the folder belongs to another run.
    """
    with locked_folder(options.work_dir, lock=_LOCK):
        claim_folder(options, data)
        if not (options.work_dir / SUMMARY).is_file():
            register_all_modules()
            _run(options, data, progress)
        return read_json(options.work_dir / SUMMARY, {})


def _run(options: Options, data: DataDescription, progress: Progress) -> None:
    names = [path.stem for path in stage_configs(options)]
    for name in ('data', *names, 'report'):
        progress.plan(name, _TITLES[name], _PLANNED.get(name))
    progress.start('data')
    with _console_to(options.work_dir / _LOG):
        settings = prepare(options, data, _cores(),
                           lambda done, total, what: progress.update('data', done, total, what))
    progress.finish('data', f'crop {settings.crop_size[1]} x {settings.crop_size[0]}, batch {settings.batch_size}, '
                            f'{settings.source_only} + {settings.adaptation} iterations')
    last = _train(options, names, progress)
    progress.start('report')
    with _console_to(options.work_dir / _LOG):
        _report(options, data, settings, names, last, progress)
    progress.finish('report', str(options.work_dir / SUMMARY))


def _train(options: Options, names: list[str], progress: Progress) -> dict[str, Path]:
    """Trains what is not finished, and returns the last checkpoint of each stage."""
    for name in names:
        if name in read_json(options.work_dir / STATE, dict(finished={}))['finished']:
            progress.skip(name, f'finished before: {options.work_dir / name}')

    def watch(name: str, runner: AdaptationRunner) -> None:
        runner.register_hook(RecordingHook(Path(runner.work_dir), name, progress), priority='HIGH')

    stages = [Stage(path.stem, Config.fromfile(path)) for path in stage_configs(options)]
    for stage in stages:
        stage.config.load_from = None  # the weights of the stage before are handed over
    with _console_to(options.work_dir / _LOG):
        run_stages(stages, options.work_dir, watch=watch)
    finished = read_json(options.work_dir / STATE, {})['finished']
    return {name: options.work_dir / finished[name]['checkpoint'] for name in names}


def _report(options: Options, data: DataDescription, settings: Settings, names: list[str], last: dict[str, Path],
            progress: Progress) -> None:
    folder = options.work_dir
    configs = {path.stem: Config.fromfile(path) for path in stage_configs(options)}
    chosen = {name: best_checkpoint(folder / name, last[name]) for name in names}
    evaluations: dict[str, dict[str, dict[str, Scores]]] = {}
    if data.validation is not None:
        for name in names:
            # What adaptation began with is the last of the first stage, whatever was best there.
            checkpoint = last[name] if name == SOURCE_ONLY and len(names) > 1 else chosen[name]
            evaluations[name] = evaluate_stage(configs[name], checkpoint, data)
            progress.update('report', len(evaluations), len(names), 'stages evaluated')
    export(configs[names[-1]], chosen[names[-1]], folder)
    write_summary(folder, _summary(options, data, settings, configs, chosen, evaluations, names))


def _summary(options: Options, data: DataDescription, settings: Settings, configs: dict[str, Config],
             chosen: dict[str, Path], evaluations: dict, names: list[str]) -> dict:
    adapted = options.work_dir / ADAPTATION if ADAPTATION in names else None
    seconds = {name: round(recorded_seconds(options.work_dir / name), 1) for name in names}
    mious = {name: found[configs[name].model.evaluate]['running statistics'].miou
             for name, found in evaluations.items()}
    return dict(
        method=options.method, source_only_miou=mious.get(SOURCE_ONLY), adapted_miou=mious.get(ADAPTATION),
        evaluated=configs[names[-1]].model.evaluate, checkpoint=str(chosen[names[-1]]),
        iterations=dict(source_only=settings.source_only, adaptation=settings.adaptation), seed=options.seed,
        images=dict(source=str(data.source.images), target=str(data.target.images)),
        seconds=round(sum(seconds.values()), 1), seconds_by_stage=seconds,
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else f'CPU, {torch.get_num_threads()} threads',
        versions=_versions(), notes=notes_of(options.work_dir, data, adapted), evaluations=as_json(evaluations))


def result_line(summary: dict) -> str:
    """Says in a sentence what came out."""
    if summary['source_only_miou'] is None:
        return f'finished, without a score for want of target labels; checkpoint {summary["checkpoint"]}'
    adapted = ('' if summary['adapted_miou'] is None else
               f', adapted {rounded(summary["adapted_miou"])} mIoU ({summary["evaluated"]})')
    return f'source-only {rounded(summary["source_only_miou"])} mIoU{adapted} on the labelled target images'


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _versions() -> dict[str, str]:
    found = dict(python=platform.python_version())
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):  # one of the two stacks is installed, not both
            found[package] = version(package)
    return found


@contextlib.contextmanager
def _console_to(path: Path) -> Iterator[None]:
    """Sends what libraries print to a file, so that the progress line stays alone on the screen."""
    with path.open('a', buffering=1, encoding='utf-8') as stream, contextlib.redirect_stdout(stream), \
            contextlib.redirect_stderr(stream):
        yield
