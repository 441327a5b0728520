"""Parts of HTML reports: one file each that needs nothing beside it. All texts that come in are escaped."""
import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from ..atomic_files import replacing
from .charts import Points, line_chart
from .report_style import STYLE

_LARGEST_PNG, _JPEG_QUALITY = 60_000, 92
_TABLE_ROWS = 12


@dataclass(frozen=True)
class ImageRow:
    """Pictures side by side.

    Args:
        pictures: RGB uint8 [H, W, 3] by caption.
    """

    pictures: Mapping[str, np.ndarray]


def write_page(path: str | Path, title: str, body: Sequence[str]) -> None:
    """Writes an HTML page, complete or not at all."""
    page = (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<meta name="color-scheme" content="light dark">\n'
            f'<title>{escape(title)}</title>\n'
            f'<style>{STYLE}</style>\n</head>\n<body>\n<a class="skip" href="#main">Skip to the content</a>\n'
            '<main id="main" tabindex="-1">\n' + '\n'.join(part for part in body if part) +
            '\n</main>\n</body>\n</html>\n')
    with replacing(path) as temporary:
        temporary.write_text(page, encoding='utf-8')


def header(eyebrow: str, title: str, text: str) -> str:
    """Shows what the page is about."""
    return (f'<header>\n<p class="eyebrow">{escape(eyebrow)}</p>\n<h1>{escape(title)}</h1>\n<p>{escape(text)}</p>\n'
            '</header>')


def number_cards(cards: Sequence[tuple[str, str, str]]) -> str:
    """Shows large numbers: (style class, number, what it is) each; nothing without cards."""
    if not cards:
        return ''
    return '<dl class="numbers">' + ''.join(
        f'<div class="number {css}"><dt>{escape(text)}</dt><dd>{escape(value)}</dd></div>'
        for css, value, text in cards) + '</dl>'


def series_legend(css_classes: Mapping[str, str]) -> str:
    """Explains the colours of series, given by their style classes."""
    return '<div class="legend">' + ''.join(
        f'<span><i class="{css}"></i>{escape(name)}</span>' for name, css in css_classes.items()) + '</div>'


def curve_figure(title: str, curves: Mapping[str, Points], css_classes: Mapping[str, str]) -> str:
    """Draws curves over iterations, with their legend, and their values in a table that opens."""
    shown = {name: points for name, points in curves.items() if points}
    if not shown:
        return ''
    css_classes = {name: css_classes[name] for name in shown}
    return (f'<figure class="chart"><figcaption>{escape(title)}</figcaption>\n{series_legend(css_classes)}'
            f'{line_chart(shown, title, css_classes)}\n<details><summary>Values: {escape(title)}</summary>'
            f'{_curve_table(title, shown)}</details></figure>')


def class_section(note: str, values: Mapping[str, Mapping[str, float | None]], colors: Mapping[str, str],
                  css_classes: Mapping[str, str], title: str = 'IoU of each class') -> str:
    """Shows a table with bars of a value in percent for each class.

    Args:
        note: What the values are.
        values: Percent in [0, 100] by class name, then by series; None or NaN = the class does not occur.
        colors: CSS colour of each class, for the mark beside its name.
        css_classes: Style class of each series, in drawing order.
        title: Heading of the section.
    """
    names = ''.join(f'<th scope="col" class="n">{escape(name)}</th>' for name in css_classes)
    rows = ''.join(_class_row(name, series, colors.get(name, 'none'), css_classes) for name, series in values.items())
    return (f'<section><h2>{escape(title)}</h2>\n<p class="note">{escape(note)}</p>\n{series_legend(css_classes)}'
            f'<table class="classes"><caption>{escape(title)}, %</caption><thead><tr><th scope="col">class</th>'
            f'<td class="bars"></td>{names}</tr></thead>\n<tbody>{rows}</tbody></table></section>')


def picture_section(title: str, text: str, rows: Sequence[ImageRow], colors: Mapping[str, str]) -> str:
    """Shows rows of pictures, with a legend of CSS colours by name; nothing without rows."""
    if not rows:
        return ''
    legend = ''.join(f'<span><i style="background:{color}"></i>{escape(name)}</span>' for name, color in colors.items())
    parts = [f'<section><h2>{escape(title)}</h2>\n<p class="note">{escape(text)}</p>']
    parts += [f'<div class="legend">{legend}</div>'] if legend else []
    for row in rows:
        figures = ''.join(f'<figure><img alt="{escape(name)}" src="{_data_uri(picture)}"><figcaption>{escape(name)}'
                          '</figcaption></figure>' for name, picture in row.pictures.items())
        parts.append(f'<div class="row">{figures}</div>')
    return '\n'.join([*parts, '</section>'])


def table_section(title: str, tables: Mapping[str, Mapping]) -> str:
    """Shows tables of names and values, side by side."""
    parts = [f'<section><h2>{escape(title)}</h2>\n<div class="tables">']
    for name, entries in tables.items():
        rows = ''.join(f'<tr><th scope="row">{escape(str(key))}</th><td>{escape(_plain(value))}</td></tr>'
                       for key, value in entries.items())
        parts.append(f'<table><caption>{escape(name)}</caption><tbody>{rows}</tbody></table>')
    return '\n'.join([*parts, '</div></section>'])


def list_section(title: str, items: Sequence[str]) -> str:
    """Shows sentences as a list; nothing without any."""
    if not items:
        return ''
    return f'<section><h2>{escape(title)}</h2>\n<ul>' + ''.join(f'<li>{escape(item)}</li>' for item in items) + \
        '</ul></section>'


def command_section(title: str, text: str, commands: Sequence[tuple[str, str]]) -> str:
    """Shows commands to type, each under what it does."""
    blocks = ''.join(f'<h3>{escape(what)}</h3>\n<pre><code>{escape(command)}</code></pre>' for what, command in commands)
    return f'<section><h2>{escape(title)}</h2>\n<p class="note">{escape(text)}</p>\n{blocks}</section>'


def _class_row(name: str, series: Mapping[str, float | None], color: str, css_classes: Mapping[str, str]) -> str:
    known = {key: value for key, value in series.items() if value is not None and math.isfinite(value)}
    bars = ''.join(f'<span class="{css}" style="width:{min(max(known.get(key, 0), 0), 100):.1f}%"></span>'
                   for key, css in css_classes.items())
    numbers = ''.join(f'<td class="n">{_short(known[key]) if key in known else "–"}</td>' for key in css_classes)
    return (f'<tr><th scope="row"><i style="background:{color}"></i>{escape(name)}</th>'
            f'<td class="bars" aria-hidden="true">{bars}</td>{numbers}</tr>\n')


def _short(percent: float) -> str:
    return f'{percent:.2f}' if 0 < percent < 1 else f'{percent:.1f}'


def _curve_table(title: str, curves: Mapping[str, Points]) -> str:
    """Shows a few values of each curve, evenly spaced, the last among them."""
    every = sorted({x for points in curves.values() for x, _ in points})
    places = np.unique(np.linspace(0, len(every) - 1, min(_TABLE_ROWS, len(every))).round().astype(int))
    known = {name: dict(points) for name, points in curves.items()}
    head = ''.join(f'<th scope="col" class="n">{escape(name)}</th>' for name in curves)
    rows = ''.join(f'<tr><th scope="row">{every[place]:g}</th>' + ''.join(
        f'<td class="n">{known[name][every[place]]:.4g}</td>' if every[place] in known[name] else '<td class="n">–</td>'
        for name in curves) + '</tr>' for place in places)
    return (f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}"><table><caption>'
            f'{escape(title)}</caption><thead><tr><th scope="col">iteration</th>{head}</tr></thead><tbody>{rows}</tbody>'
            '</table></div>')


def _plain(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ', '.join(map(str, value))
    return f'{value:.2f}' if isinstance(value, float) else str(value)


def _data_uri(picture: np.ndarray) -> str:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    encoded, kind = cv2.imencode('.png', bgr, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1], 'png'
    if len(encoded) > _LARGEST_PNG:  # a photograph: label maps have few colours and stay far below
        encoded, kind = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1], 'jpeg'
    return f'data:image/{kind};base64,' + base64.b64encode(encoded.tobytes()).decode()
