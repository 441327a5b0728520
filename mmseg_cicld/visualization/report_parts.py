"""Parts of HTML reports: one file each that needs nothing beside it."""
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from ..atomic_files import replacing
from .charts import bar_chart
from .report_style import STYLE


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
            f'<title>{escape(title)}</title>\n'
            f'<style>{STYLE}</style>\n</head>\n<body>\n<main>\n' + '\n'.join(body) +
            '\n</main>\n</body>\n</html>\n')
    with replacing(path) as temporary:
        temporary.write_text(page, encoding='utf-8')


def number_cards(cards: Sequence[tuple[str, str, str]]) -> str:
    """Shows large numbers: (style class, number, what it is) each."""
    return '<div class="numbers">' + ''.join(
        f'<div class="number {css}"><b>{value}</b><span>{text}</span></div>' for css, value, text in cards) + '</div>'


def series_legend(css_classes: Mapping[str, str]) -> str:
    """Explains the colours of series, given by their style classes."""
    return '<div class="legend">' + ''.join(
        f'<span><i class="{css}"></i>{name}</span>' for name, css in css_classes.items()) + '</div>'


def class_section(note: str, values: Mapping[str, Mapping[str, float | None]], colors: Mapping[str, str],
                  css_classes: Mapping[str, str]) -> str:
    """Shows the IoU of each class as bars, see :func:`bar_chart`, in two columns."""
    entries = list(values.items())
    middle = (len(entries) + 1) // 2
    charts = (bar_chart(dict(half), colors, css_classes) for half in (entries[:middle], entries[middle:]))
    return (f'<section><h2>IoU of each class</h2>\n<p class="note">{note}</p>\n' + series_legend(css_classes) +
            '<div class="charts">' + ''.join(f'<div>{chart}</div>' for chart in charts) + '</div></section>')


def picture_section(title: str, text: str, rows: Sequence[ImageRow], colors: Mapping[str, str]) -> str:
    """Shows rows of pictures, with a legend of CSS colours by name; nothing without rows."""
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


def table_section(title: str, tables: Mapping[str, Mapping]) -> str:
    """Shows tables of names and values, side by side."""
    parts = [f'<section><h2>{title}</h2>\n<div class="tables">']
    for name, entries in tables.items():
        rows = ''.join(f'<tr><td>{escape(str(key))}</td><td>{escape(_plain(value))}</td></tr>'
                       for key, value in entries.items())
        parts.append(f'<table aria-label="{escape(name)}"><tbody>{rows}</tbody></table>')
    return '\n'.join([*parts, '</div></section>'])


def _plain(value: object) -> str:
    return f'{value:.2f}' if isinstance(value, float) else str(value)


def _data_uri(picture: np.ndarray) -> str:
    encoded = cv2.imencode('.png', cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    return 'data:image/png;base64,' + base64.b64encode(encoded.tobytes()).decode()
