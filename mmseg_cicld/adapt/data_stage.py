"""The first stage: audits the data, counts classes, chooses, and writes the configs; what is there is kept."""
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from mmengine.config import Config

from ..datasets.class_statistics import count_file, label_files, refuse_unknown_ids, write_statistics
from ..datasets.label_audit import audit_dataset, build_without_pipeline
from ..datasets.rare_class_sampling import STATS_FILE
from ..json_files import read_json, write_json
from .choices import ITERATIONS, Facts, Settings, Speed, choose, iterations_in, recorded, split_iterations
from .config_file import write_config
from .data_description import DataDescription, Images
from .facts import gather_facts
from .methods import SOURCE_FREE, SOURCE_ONLY
from .misplaced_files import check_images
from .options import Options
from .timing import measure_speed
from .trained_model import keep_model, kept_config, kept_weights, trained_scale

AUDIT, CHOICES, STATISTICS, NOTES = 'audit.txt', 'choices.json', 'class_statistics', 'notes.json'
CONFIGS, ADAPTATION, TIMING = 'configs', 'adaptation', 'timing'
_AUDITED = 200  # files of each dataset that are looked at; labels of the source are all counted
_FEW = 100  # files that are done before further processes have started
_Task = TypeVar('_Task')
_Result = TypeVar('_Result')
Report = Callable[[int, int, str], object]


def prepare(options: Options, data: DataDescription, nproc: int, report: Report) -> Settings:
    """Does what is missing of the stage.

    Args:
        options: What was asked for.
        data: Folders and classes.
        nproc: Number of processes.
        report: Called with the number done, of all, and what they are.

    Raises:
        ValueError: If the data cannot be trained on.
    """
    file = options.work_dir / CHOICES
    if options.model is not None:
        keep_model(options.model, options.config, data.metainfo, options.work_dir)
    if not file.is_file():
        write_json(file, _choose(options, data, _look_at_data(options, data, nproc, report), report))
    settings = recorded(read_json(file, {})['settings'])
    _write_configs(options, data, settings, options.work_dir)
    return settings


def stage_configs(options: Options) -> list[Path]:
    """Lists the config files in the order of the stages."""
    stages = {SOURCE_ONLY: [SOURCE_ONLY], SOURCE_FREE: [ADAPTATION]}.get(options.method, [SOURCE_ONLY, ADAPTATION])
    return [options.work_dir / CONFIGS / f'{stage}.py' for stage in stages]


def _choose(options: Options, data: DataDescription, statistics: list[dict], report: Report) -> dict[str, Any]:
    facts = gather_facts(data, statistics, options.method,
                         None if options.model is None else trained_scale(kept_config(options.work_dir)))
    settings = choose(facts, _stages(options, facts))
    if options.minutes is None:
        return dict(facts=asdict(facts), settings=asdict(settings))
    speed = _measured(options, data, settings, report)
    stages = split_iterations(iterations_in(60 * options.minutes, speed, options.method), options.method)
    return dict(facts=asdict(facts), speed=asdict(speed), settings=asdict(choose(facts, stages)))


def _stages(options: Options, facts: Facts) -> tuple[int, int]:
    return options.stages or split_iterations(options.iterations or ITERATIONS[facts.device], options.method)


def _measured(options: Options, data: DataDescription, settings: Settings, report: Report) -> Speed:
    """Takes a few steps of each stage in a folder that is gone afterwards."""
    folder = options.work_dir / TIMING
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed here
    _write_configs(options, data, settings, folder)
    try:
        paths = stage_configs(replace(options, work_dir=folder))
        return measure_speed([Config.fromfile(path) for path in paths], folder,
                             lambda done: report(done, len(paths), 'stages timed'))
    finally:
        shutil.rmtree(folder)


def _write_configs(options: Options, data: DataDescription, settings: Settings, folder: Path) -> None:
    statistics = (options.work_dir / STATISTICS / STATS_FILE).resolve()
    before, given = (folder / SOURCE_ONLY / f'iter_{settings.source_only}.pth').resolve(), None
    if options.model is not None:
        before, given = kept_weights(options.work_dir).resolve(), kept_config(options.work_dir).model
    for path in stage_configs(replace(options, work_dir=folder)):
        if path.is_file():  # perhaps changed by hand: that is kept, and refused where a training has begun with another
            continue
        first = path.stem == SOURCE_ONLY
        write_config(path, options.method, SOURCE_ONLY if first else options.method, data, settings, options.seed,
                     statistics, None if first else before, given)


def _look_at_data(options: Options, data: DataDescription, nproc: int, report: Report) -> list[dict]:
    folder, notes = options.work_dir, check_images(data, options.method != SOURCE_ONLY)
    datasets = {} if data.source is None else dict(source=_listed(data.source, data))
    datasets['target'] = _listed(data.target, data)
    if data.validation is not None:
        datasets['labelled target'] = _listed(data.validation, data)
    audits = []
    for number, (name, dataset) in enumerate(datasets.items()):
        report(number, len(datasets), 'datasets audited')
        audits.append(audit_dataset(dataset, _AUDITED, name=name, with_labels=name != 'target'))
    (folder / AUDIT).write_text('\n\n'.join(audit.table() for audit in audits) + '\n', encoding='utf-8')
    faults = [finding for audit in audits for finding in audit.blocking]
    if faults:
        raise ValueError(f'the data cannot be used as they are, {len(faults)} faults in the files that were looked at; '
                         f'{folder / AUDIT} has all. The first: {faults[0].kind}: {faults[0].text}')
    if data.source is None:
        write_json(folder / NOTES, notes)
        return []
    statistics = _mapped(count_file, label_files(datasets['source']), nproc,
                         lambda done, total: report(done, total, 'labels counted'))
    refuse_unknown_ids(statistics, len(data.classes))
    notes += _missing_classes(statistics, data.classes)
    write_statistics(statistics, str(folder / STATISTICS))
    write_json(folder / NOTES, notes)
    return statistics


def _listed(images: Images, data: DataDescription) -> object:
    steps = [dict(type='LoadImageStrictly')] + [dict(type='LoadLabelStrictly')] * (images.labels is not None)
    return build_without_pipeline(images.dataset(steps, data.metainfo), str(images.images))


def _missing_classes(statistics: Sequence[dict], classes: Sequence[str]) -> list[str]:
    shown = {class_id for entry in statistics for class_id in entry}
    missing = [name for class_id, name in enumerate(classes) if str(class_id) not in shown]
    if len(missing) == len(classes):
        raise ValueError('no source label shows any class, every pixel is 255 (ignore): convert the labels to class '
                         'ids, 0 for the first class')
    if not missing:
        return []
    return [f'no source label shows {", ".join(missing)}: what is never shown cannot be learned, and the networks '
            'will not predict it. Add labelled images of it, or leave it out of the classes']


def _mapped(function: Callable[[_Task], _Result], tasks: Sequence[_Task], nproc: int,
            report: Callable[[int, int], object]) -> list[_Result]:
    """Applies a function to every task, in several processes where there are many."""
    results = []
    with ProcessPoolExecutor(nproc if len(tasks) >= _FEW else 1) as pool:
        mapped = map(function, tasks) if len(tasks) < _FEW else pool.map(function, tasks, chunksize=8)
        for result in mapped:
            results.append(result)
            report(len(results), len(tasks))
    return results
