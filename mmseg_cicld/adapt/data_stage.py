"""The first stage: audits the data, counts classes, chooses, and writes the configs; what is there is kept."""
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..datasets.class_statistics import count_file, label_files, refuse_unknown_ids, write_statistics
from ..datasets.label_audit import audit_dataset, build_without_pipeline
from ..datasets.rare_class_sampling import STATS_FILE
from .choices import Settings, choose, recorded
from .config_file import write_config
from .data_description import DataDescription, Images
from .facts import gather_facts
from ..json_files import read_json, write_json
from .methods import SOURCE_ONLY
from .options import Options
from .misplaced_files import check_images

AUDIT, CHOICES, STATISTICS, NOTES = 'audit.txt', 'choices.json', 'class_statistics', 'notes.json'
CONFIGS, ADAPTATION = 'configs', 'adaptation'
_AUDITED = 200  # files of each dataset that are looked at; labels of the source are all counted
_FEW = 100  # files that are done before further processes have started
_Task, _Result = TypeVar('_Task'), TypeVar('_Result')
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
    folder = options.work_dir
    choices = read_json(folder / CHOICES, None)
    if choices is None:
        statistics = _look_at_data(folder, data, nproc, report)
        facts = gather_facts(data.source, data.target, statistics, options.method)
        choices = dict(facts=asdict(facts), settings=asdict(choose(facts, options.iterations)))
        write_json(folder / CHOICES, choices)
    settings = recorded(choices['settings'])
    _write_configs(options, data, settings)
    return settings


def stage_configs(options: Options) -> list[Path]:
    """Lists the config files in the order of the stages."""
    stages = [SOURCE_ONLY] if options.method == SOURCE_ONLY else [SOURCE_ONLY, ADAPTATION]
    return [options.work_dir / CONFIGS / f'{stage}.py' for stage in stages]


def _write_configs(options: Options, data: DataDescription, settings: Settings) -> None:
    statistics = (options.work_dir / STATISTICS / STATS_FILE).resolve()
    before = (options.work_dir / SOURCE_ONLY / f'iter_{settings.source_only}.pth').resolve()
    for path in stage_configs(options):
        first = path.stem == SOURCE_ONLY
        write_config(path, options.method, SOURCE_ONLY if first else options.method, data, settings, options.seed,
                     statistics, None if first else before)


def _look_at_data(folder: Path, data: DataDescription, nproc: int, report: Report) -> list[dict]:
    notes = check_images(data)
    datasets = dict(source=_listed(data.source, data), target=_listed(data.target, data))
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
    statistics = _mapped(count_file, label_files(datasets['source']), nproc,
                         partial(report, what='labels counted'))
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
