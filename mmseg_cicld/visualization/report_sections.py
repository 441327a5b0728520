"""Sections of the report of a training that are read from its record alone."""
from collections.abc import Mapping
from html import escape
from pathlib import Path

from .charts import Points
from .report_parts import class_section, curve_figure
from .report_results import ORACLE, SOURCE_ONLY, Results
from .training_record import Curve, TrainingRecord

_SERIES = 8  # colours for curves
_LOST, _SEEN = 0.1, 0.002  # a class is losing below this part of its first share, if that was at least so large


def curves(record: TrainingRecord, others: Mapping[str, TrainingRecord], own: str, css: Mapping[str, str]) -> str:
    """Shows scores, losses, what the target tells, and the learning rate over the iterations."""
    scores = {name: _points(training.miou) for name, training in {SOURCE_ONLY: others.get(SOURCE_ONLY), own: record,
                                                                 ORACLE: others.get(ORACLE)}.items()
              if training is not None}
    target = {'confident pseudo-labels': record.confident_share, 'student and teacher agree': record.agreement,
              'mean confidence': record.confidence}
    # The sum first; of more than there are colours, those that weigh most at the end.
    names = sorted(record.losses, key=lambda name: (name != 'loss', -abs(_last(record.losses[name]))))[:_SERIES]
    figures = [curve_figure('mIoU on target validation images (%)', scores, css),
               curve_figure('Training losses', {name: _points(record.losses[name]) for name in names}, _colours(names)),
               curve_figure('Share of target pixels (%)', {name: _points(curve, 100) for name, curve in target.items()},
                            _colours(target)),
               curve_figure('Learning rate', {'learning rate': _points(record.learning_rate)},
                            _colours(['learning rate']))]
    shown = ''.join(figures)
    note = 'Losses are means over the iterations since the value before'
    if record.run.get('processes', 1) > 1:
        note += f', of the first of {record.run["processes"]} processes'
    if record.confidence:
        note += ('. Confidence is the probability that the teacher (without one: the student) gives its own label; '
                 f'confident are pseudo-labels that reach the threshold {record.run.get("threshold")}'
                 if record.confident_share else
                 '. Confidence is the probability that the network gives its own label')
    return f'<section><h2>Training</h2>\n<p class="note">{escape(note)}.</p>\n<div class="charts">{shown}</div></section>' \
        if shown else ''


def networks(results: Results) -> str:
    """Shows all networks side by side, if some have been evaluated that are in no other section."""
    if set(results.scores) <= {SOURCE_ONLY, results.own, ORACLE}:
        return ''
    classes = dict.fromkeys(name for score in results.scores.values() for name in score.iou)
    head = ''.join(f'<th scope="col" class="n">{escape(name)}</th>' for name in results.scores)
    rows: list[tuple[str, list[float | None]]] = [('mIoU', [score.miou for score in results.scores.values()])]
    rows += [(name, [score.iou.get(name) for score in results.scores.values()]) for name in classes]
    body = ''.join(f'<tr><th scope="row">{escape(name)}</th>' + ''.join(
        f'<td class="n">{_number(value)}</td>' for value in values) + '</tr>' for name, values in rows)
    return ('<section><h2>Networks side by side</h2>\n<div class="scroll" tabindex="0" role="region" '
            'aria-label="Networks side by side"><table><caption>IoU, %</caption><thead><tr><th scope="col">class</th>'
            f'{head}</tr></thead><tbody>{body}</tbody></table></div></section>')


def class_shares(record: TrainingRecord, colors: Mapping[str, str]) -> str:
    """Shows how often each class was predicted on the target, first and last."""
    if not record.class_shares or len(record.classes) != len(next(iter(record.class_shares.values()))):
        return ''
    first, last = min(record.class_shares), max(record.class_shares)
    series = {f'after {at}': dict(zip(record.classes, record.class_shares[at])) for at in dict.fromkeys((first, last))}
    begin, end = (dict(zip(record.classes, record.class_shares[at])) for at in (first, last))
    lost = [name for name in record.classes if begin[name] >= _SEEN and end[name] < _LOST * begin[name]]
    never = [name for name in record.classes if not any(shares[record.classes.index(name)]
                                                        for shares in record.class_shares.values())]
    note = f'Share of the target pixels of a batch, after {first} and after {last} iterations.'
    note += f' Less than a tenth is left of: {", ".join(lost)}.' if lost else ''
    note += f' Never predicted where it was looked at: {", ".join(never)}.' if never else ''
    values = {name: {key: 100 * shares[name] for key, shares in series.items()} for name in record.classes}
    return class_section(note, values, colors, _colours(series), 'Classes that the target is given')


def missing(work_dir: Path, record: TrainingRecord, results: Results, examples: bool) -> list[str]:
    """Names what the report cannot show, and what would show it."""
    found = []
    adapted, recorded = record.run.get('target'), bool(record.run)
    if results.own not in results.scores:
        found.append('mIoU and IoU of each class: no labelled target images were validated on. '
                     + ('Confidence, agreement and shares of classes tell how sure and how steady the networks are, not '
                        'whether they are right: a network can be sure of a wrong label everywhere. ' if adapted else '')
                     + 'A few dozen labelled target images in val_dataloader would tell.')
    elif not results.scores[results.own].iou:
        found.append('IoU of each class: only the mean was recorded.')
    if results.own in results.scores and results.gap_share is None and results.own != SOURCE_ONLY:
        absent = [name for name in (SOURCE_ONLY, ORACLE) if name not in results.scores]
        found.append('The share of the gap that was closed: ' + (
            f'it needs the scores of {" and ".join(absent)} (tools/report.py WORK_DIR --source-only WORK_DIR --oracle '
            'WORK_DIR).' if absent else 'the oracle is not better than source-only.'))
    if not recorded:
        found.append('Agreement, confidence, shares of classes and pictures of steps: this training was made without '
                     "default_hooks.report=dict(type='ReportHook'); what is shown is from the logs of mmengine.")
    elif not adapted:
        found.append('Pseudo-labels, confidence and agreement: no target images were trained on.')
    elif not record.agreement:
        found.append('Agreement of student and teacher: no teacher has labelled target images.')
    if len(record.losses) > _SERIES:
        found.append(f'{len(record.losses) - _SERIES} of the losses: all are in report/curves.json or the logs.')
    if not examples:
        found.append(f'Predictions: tools/report.py {work_dir.name} makes some with a checkpoint.')
    return found


def _points(curve: Curve, factor: float = 1.0) -> Points:
    return [(at, factor * value) for at, value in sorted(curve.items()) if value is not None]


def _last(curve: Curve) -> float:
    return next((value for _, value in sorted(curve.items(), reverse=True) if value is not None), 0.0)


def _colours(names: Mapping | list[str]) -> dict[str, str]:
    return {name: f's{index}' for index, name in enumerate(names)}


def _number(value: float | None) -> str:
    return '–' if value is None or value != value else f'{value:.1f}'
