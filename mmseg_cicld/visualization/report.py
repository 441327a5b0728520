"""The report of the quick start: one HTML file that needs nothing beside it."""
from collections.abc import Mapping, Sequence
from pathlib import Path

from .charts import Points, line_chart
from .report_parts import (ImageRow, class_section, number_cards, picture_section, series_legend, table_section,
                           write_page)

SOURCE_ONLY, ADAPTED = 'source-only', 'adapted'
_CSS_CLASSES = {SOURCE_ONLY: 'source', ADAPTED: 'adapted'}


def write_report(path: str | Path, summary: Mapping, curves: Mapping[str, Mapping[str, Points]],
                 predictions: Sequence[ImageRow], mixes: Sequence[ImageRow],
                 palette: Mapping[str, Sequence[int]]) -> None:
    """Writes the report, complete or not at all.

    Args:
        path: The HTML file; its folder must exist.
        summary: What is in ``summary.json``: ``source_only_miou`` and ``adapted_miou`` in percent, ``per_class``
            (``{name: {'source_only': percent or None, 'adapted': ...}}``), and any further entries, which are listed
            in the table at the end (nested mappings with their keys).
        curves: ``{'loss': {run: points}, 'miou': {run: points}}`` with the runs ``'source-only'`` and ``'adapted'``;
            points are (iteration, value).
        predictions: Rows of target image, label and predictions.
        mixes: Rows of what the adaptation trained on: pseudo-label, mixed image and so on.
        palette: RGB of each class by name.
    """
    colors = {name: f'rgb({color[0]},{color[1]},{color[2]})' for name, color in palette.items()}
    body = [_header(summary), _numbers(summary), _curves(curves), _classes(summary, colors),
            picture_section('What the networks see', 'Target validation images. Neither network has seen a label of '
                            'the target domain.', predictions, colors),
            picture_section('What the adaptation learns from', 'The teacher labels a target image; classes of a '
                            'labelled source image are pasted onto it, image and label alike; the student learns from '
                            'the mix.', mixes, {}),
            _details(summary)]
    title = f'Quick start: {summary["source_only_miou"]:.1f} to {summary["adapted_miou"]:.1f} mIoU'
    write_page(path, title, body)


def _header(summary: Mapping) -> str:
    return ('<p class="eyebrow">mmseg_cicld · quick start</p>\n'
            '<h1>From labelled renderings to unlabelled camera images</h1>\n'
            '<p>A small network learns street scenes from a clean, labelled source domain and is then adapted to a '
            'target domain that looks different and has no labels. Both networks are measured on labelled target '
            'images that neither was trained on.</p>')


def _numbers(summary: Mapping) -> str:
    source, adapted = summary['source_only_miou'], summary['adapted_miou']
    gain = round(adapted, 1) - round(source, 1)  # What a reader who subtracts the shown numbers gets.
    cards = [('source', f'{source:.1f}', 'mIoU, source-only (%)'), ('adapted', f'{adapted:.1f}', 'mIoU, adapted (%)'),
             ('gain' if gain > 0 else 'loss', f'{gain:+.1f}', 'points from adaptation')]
    return number_cards(cards)


def _curves(curves: Mapping[str, Mapping[str, Points]]) -> str:
    miou = line_chart(curves['miou'], 'mIoU on target validation images (%)', _CSS_CLASSES)
    loss = line_chart(curves['loss'], 'training loss', _CSS_CLASSES)
    return ('<section><h2>Training</h2>\n<p class="note">The adaptation starts from the source-only network. '
            'Its loss is the sum over source and mixed images.</p>\n' + series_legend(_CSS_CLASSES) +
            f'<div class="charts">\n<div>{miou}</div>\n<div>{loss}</div>\n</div></section>')


def _classes(summary: Mapping, colors: Mapping[str, str]) -> str:
    values = {name: {SOURCE_ONLY: entry['source_only'], ADAPTED: entry['adapted']}
              for name, entry in summary['per_class'].items()}
    return class_section('In percent, source-only → adapted.', values, colors, _CSS_CLASSES)


def _details(summary: Mapping) -> str:
    tables = {'Run': {key: value for key, value in summary.items()
                      if key != 'per_class' and not isinstance(value, Mapping)}}
    tables |= {key.capitalize(): value for key, value in summary.items()
               if key != 'per_class' and isinstance(value, Mapping)}
    return table_section('Configuration and versions', tables)
