"""The report of a training: one HTML file that needs nothing beside it."""
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .examples import example_rows, read_examples
from .next_commands import next_commands
from .panel import distinct_colours, step_tiles
from .report_parts import (ImageRow, class_section, command_section, header, list_section, number_cards,
                           picture_section, table_section, write_page)
from .report_results import ADAPTED, ORACLE, SOURCE_ONLY, THIS, Results, gather_results
from .report_sections import class_shares, curves, missing, networks
from .training_record import FOLDER, LAST_STEP, TrainingRecord, read_record

REPORT = 'report.html'
_HEAT = 'Confidence goes from dark (0) to yellow (1); black in labels is ignored.'
_CSS = {SOURCE_ONLY: 'source', ADAPTED: 'adapted', THIS: 'adapted', ORACLE: 'oracle'}


def write_training_report(work_dir: Path, *, source_only: Path | None = None, oracle: Path | None = None,
                          evaluations: Mapping[str, Mapping] | None = None, notes: Sequence[str] = (),
                          path: Path | None = None) -> Path:
    """Writes the report of a training, complete or not at all.

    It shows what :class:`ReportHook` has recorded or, of a training without it, what mmengine has logged; what is not
    there is named with the way to get it. Pictures of predictions are shown if :func:`save_examples` has left some.

    Args:
        work_dir: Folder of the training.
        source_only: Folder of the training on the source alone, to compare with.
        oracle: Folder of the training on target labels, the upper bound.
        evaluations: Scores of networks evaluated side by side, by name: ``dict(miou=percent, iou={class: percent or
            None})``. ``'source-only'``, ``'adapted'`` and ``'oracle'`` replace the last validation of these trainings.
        notes: Sentences that a reader has to know.
        path: The HTML file, by default ``WORK_DIR/report.html``.

    Returns:
        The file.

    Raises:
        ReportError: If one of the folders holds no training.
    """
    work_dir = Path(work_dir)
    record = read_record(work_dir)
    others = {name: read_record(Path(folder)) for name, folder in ((SOURCE_ONLY, source_only), (ORACLE, oracle))
              if folder is not None}
    examples, origin, classes, palette = read_examples(work_dir)
    if not record.classes:
        record.classes, record.palette = classes, palette
    record.palette = record.palette or distinct_colours(len(record.classes) or 256)
    results = gather_results(record, others, evaluations or {})
    colors = {name: f'rgb({red},{green},{blue})' for name, (red, green, blue) in zip(record.classes, record.palette)}
    commands = next_commands(work_dir, record)
    body = [
        _header(work_dir, record), number_cards(_cards(record, results)),
        list_section('What to know', [note[:1].upper() + note[1:] for note in notes]),
        curves(record, others, results.own, _CSS),
        _classes(results, colors), networks(results), class_shares(record, colors),
        picture_section('Predictions', f'By {origin}. {_HEAT}', example_rows(examples, record.palette), colors),
        picture_section('What the last recorded step learned from', f'Crops, as the network saw them. {_HEAT}',
                        _step_rows(work_dir, record), {} if examples else colors),
        list_section('What is not shown, and why', missing(work_dir, record, results, bool(examples))),
        command_section('Next commands', 'To be typed in a shell, with the environment of the training.', commands)
        if commands else '', _details(record)]
    path = work_dir / REPORT if path is None else path
    write_page(path, f'{work_dir.absolute().name}: {_headline(record, results)}', body)
    return path


def _headline(record: TrainingRecord, results: Results) -> str:
    own = results.scores.get(results.own)
    return f'{own.miou:.1f} mIoU' if own is not None else f'{record.iterations} iterations'


def _header(work_dir: Path, record: TrainingRecord) -> str:
    run, total = record.run, record.run.get('max_iters')
    parts = [f'{record.iterations} of {total} iterations' if total else f'{record.iterations} iterations']
    if run.get('model'):
        objectives = ', '.join(run.get('objectives') or ())
        parts.append(f'of {run["model"]}' + (f' with {objectives}' if objectives else ''))
    if record.seconds:
        parts.append(f'in {_duration(record.seconds)} on {run.get("device", "an unknown device")}')
    return header('mmseg_cicld · report', work_dir.absolute().name, ' '.join(parts) + '.')


def _cards(record: TrainingRecord, results: Results) -> list[tuple[str, str, str]]:
    cards = [(_CSS[name], f'{results.scores[name].miou:.1f}', f'mIoU, {name} (%)')
             for name in (SOURCE_ONLY, results.own, ORACLE) if name in results.scores]
    best = max(((value, at) for at, value in record.miou.items() if value is not None), default=None)
    if best is not None and results.own in results.scores and best[0] > results.scores[results.own].miou + 0.05:
        cards.append(('loss', f'{best[0]:.1f}', f'mIoU, best validation, after {best[1]} iterations (%)'))
    if SOURCE_ONLY in results.scores and results.own in results.scores:
        # What a reader who subtracts the shown numbers gets.
        gain = round(results.scores[results.own].miou, 1) - round(results.scores[SOURCE_ONLY].miou, 1)
        cards.append(('gain' if gain > 0 else 'loss', f'{gain:+.1f}', f'points, {results.own} over source-only'))
    if results.gap_share is not None:
        cards.append(('gain' if results.gap_share > 0 else 'loss', f'{100 * results.gap_share:.0f} %',
                      'of the gap to the oracle closed'))
    for name, text in dict(confident_share='confident pseudo-labels', agreement='agreement of student and teacher',
                           confidence='mean confidence on the target').items():
        values = [value for value in getattr(record, name).values() if value is not None]
        if values and not record.miou:
            cards.append(('loss', f'{100 * values[-1]:.0f} %', text))
    return cards


def _classes(results: Results, colors: Mapping[str, str]) -> str:
    shown = {name: results.scores[name].iou for name in (SOURCE_ONLY, results.own, ORACLE)
             if name in results.scores and results.scores[name].iou}
    if not shown:
        return ''
    classes = dict.fromkeys(name for iou in shown.values() for name in iou)
    return class_section('On labelled target images, in percent; – where neither labels nor predictions have the class.',
                         {name: {key: iou.get(name) for key, iou in shown.items()} for name in classes}, colors,
                         {name: _CSS[name] for name in shown})


def _step_rows(work_dir: Path, record: TrainingRecord) -> list[ImageRow]:
    file = work_dir / FOLDER / LAST_STEP
    if not file.is_file():
        return []
    with np.load(file) as kept:
        parts = {name: kept[name].astype(np.float32) if kept[name].dtype == np.float16 else kept[name]
                 for name in kept.files if name != 'mixed_weight'}
    if 'pseudo_weight' in parts and np.ptp(parts['pseudo_weight']) == 0:
        del parts['pseudo_weight']  # one number for the batch, which the curve of confident pseudo-labels shows
    return [ImageRow(step_tiles(parts, index, record.palette)) for index in range(len(next(iter(parts.values()), ())))]


def _details(record: TrainingRecord) -> str:
    run = {key: str(value) for key, value in record.run.items() if value not in (None, []) and key != 'versions'}
    return table_section('Run and versions', {'Run': run | dict(seconds=f'{record.seconds:.0f}'),
                                              'Versions': record.run.get('versions') or {}} if run else {})


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes // 60} h {minutes % 60} min' if minutes >= 60 else f'{minutes} min {rest} s'
