"""The report of the quick start: one HTML file that needs nothing beside it."""
import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from .charts import Points, bar_chart, line_chart
from .report_style import STYLE

SOURCE_ONLY, ADAPTED = 'source-only', 'adapted'
_CSS_CLASSES = {SOURCE_ONLY: 'source', ADAPTED: 'adapted'}


@dataclass(frozen=True)
class ImageRow:
    """Pictures side by side.

    Args:
        pictures: RGB uint8 [H, W, 3] by caption.
    """

    pictures: Mapping[str, np.ndarray]


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
            _pictures('What the networks see', 'Target validation images. Neither network has seen a label of '
                      'the target domain.', predictions, colors),
            _pictures('What the adaptation learns from', 'The teacher labels a target image; classes of a labelled '
                      'source image are pasted onto it, image and label alike; the student learns from the mix.',
                      mixes, {}),
            _details(summary)]
    page = (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<title>Quick start: {summary["source_only_miou"]:.1f} to {summary["adapted_miou"]:.1f} mIoU</title>\n'
            f'<style>{STYLE}</style>\n</head>\n<body>\n<main>\n' + '\n'.join(body) +
            '\n</main>\n</body>\n</html>\n')
    temporary = Path(path).with_name(Path(path).name + '.tmp')
    temporary.write_text(page, encoding='utf-8')
    os.replace(temporary, path)


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
    return '<div class="numbers">' + ''.join(
        f'<div class="number {css}"><b>{value}</b><span>{text}</span></div>' for css, value, text in cards) + '</div>'


def _legend() -> str:
    return '<div class="legend">' + ''.join(
        f'<span><i class="{css}"></i>{name}</span>' for name, css in _CSS_CLASSES.items()) + '</div>'


def _curves(curves: Mapping[str, Mapping[str, Points]]) -> str:
    return ('<section><h2>Training</h2>\n<p class="note">The adaptation starts from the source-only network. '
            'Its loss is the sum over source and mixed images.</p>\n' + _legend() + '<div class="charts">\n<div>' +
            line_chart(curves['miou'], 'mIoU on target validation images (%)', _CSS_CLASSES) + '</div>\n<div>' +
            line_chart(curves['loss'], 'training loss', _CSS_CLASSES) + '</div>\n</div></section>')


def _classes(summary: Mapping, colors: Mapping[str, str]) -> str:
    values = {name: {SOURCE_ONLY: entry['source_only'], ADAPTED: entry['adapted']}
              for name, entry in summary['per_class'].items()}
    return ('<section><h2>IoU of each class</h2>\n<p class="note">In percent, source-only → adapted.</p>\n' +
            _legend() + '<div class="charts">' + ''.join(
                f'<div>{bar_chart(part, colors, _CSS_CLASSES)}</div>' for part in _halves(values)) + '</div></section>')


def _halves(values: dict) -> list[dict]:
    entries = list(values.items())
    middle = (len(entries) + 1) // 2
    return [dict(entries[:middle]), dict(entries[middle:])]


def _pictures(title: str, text: str, rows: Sequence[ImageRow], colors: Mapping[str, str]) -> str:
    if not rows:
        return ''
    legend = ''.join(f'<span><i style="background:{color}"></i>{escape(name)}</span>' for name, color in colors.items())
    parts = [f'<section><h2>{title}</h2>\n<p class="note">{text}</p>']
    parts += [f'<div class="legend">{legend}</div>'] if legend else []
    parts.append('<div class="pictures">')
    for row in rows:
        figures = ''.join(f'<figure><img alt="{escape(name)}" src="{_data_uri(picture)}"><figcaption>{escape(name)}'
                          '</figcaption></figure>' for name, picture in row.pictures.items())
        parts.append(f'<div class="row">{figures}</div>')
    return '\n'.join([*parts, '</div></section>'])


def _details(summary: Mapping) -> str:
    tables = {'Run': {key: value for key, value in summary.items()
                      if key != 'per_class' and not isinstance(value, Mapping)}}
    tables |= {key.capitalize(): value for key, value in summary.items()
               if key != 'per_class' and isinstance(value, Mapping)}
    parts = ['<section><h2>Configuration and versions</h2>\n<div class="tables">']
    for title, entries in tables.items():
        rows = ''.join(f'<tr><td>{escape(str(key))}</td><td>{escape(_plain(value))}</td></tr>'
                       for key, value in entries.items())
        parts.append(f'<table aria-label="{escape(title)}"><tbody>{rows}</tbody></table>')
    return '\n'.join([*parts, '</div></section>'])


def _plain(value: object) -> str:
    return f'{value:.2f}' if isinstance(value, float) else str(value)


def _data_uri(picture: np.ndarray) -> str:
    encoded = cv2.imencode('.png', cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    return 'data:image/png;base64,' + base64.b64encode(encoded.tobytes()).decode()
