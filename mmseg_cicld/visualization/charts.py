"""Small SVG charts for the report. Colours come from the page's style sheet, so they follow light and dark."""
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]
Place = Callable[[float, float], tuple[float, float]]

_WIDTH, _HEIGHT = 520, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 14, 36
_BAR, _BAR_ROW, _NAME_WIDTH, _VALUE_WIDTH, _BAR_WIDTH = 8, 27, 108, 62, 520


def line_chart(curves: Mapping[str, Points], y_label: str, css_classes: Mapping[str, str]) -> str:
    """Draws curves over training iterations.

    Args:
        curves: Points (iteration, value) by name; curves without points are left out.
        y_label: What the vertical axis shows.
        css_classes: Style class of each curve.

    Returns:
        An ``<svg>`` element, or a sentence if no curve has points.
    """
    curves = {name: [p for p in points if math.isfinite(p[1])] for name, points in curves.items()}
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return '<p class="muted">No values were recorded.</p>'
    x_ticks = _ticks(0, max(x for x, _ in points))
    y_ticks = _ticks(0, max(y for _, y in points))
    scale_x = (_WIDTH - _LEFT - _RIGHT) / x_ticks[-1]
    scale_y = (_HEIGHT - _TOP - _BOTTOM) / y_ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        return round(_LEFT + x * scale_x, 1), round(_HEIGHT - _BOTTOM - y * scale_y, 1)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(y_label)} over iterations">']
    parts += _grid(x_ticks, y_ticks, place)
    parts.append(f'<text class="axis" x="{_LEFT}" y="10">{escape(y_label)}</text>')
    for name, curve in curves.items():
        parts += _curve(name, curve, place, css_classes[name])
    return '\n'.join([*parts, '</svg>'])


def bar_chart(values: Mapping[str, Mapping[str, float | None]], colors: Mapping[str, str],
              css_classes: Mapping[str, str]) -> str:
    """Draws a group of horizontal bars for each class.

    Args:
        values: Percent in [0, 100] by class name, then by series; None or NaN = the class does not occur.
        colors: CSS colour of each class, for the mark beside its name.
        css_classes: Style class of each series, in drawing order.

    Returns:
        An ``<svg>`` element.
    """
    top, scale = 24, (_BAR_WIDTH - _NAME_WIDTH - _VALUE_WIDTH) / 100
    height = top + _BAR_ROW * len(values)
    parts = [f'<svg viewBox="0 0 {_BAR_WIDTH} {height}" role="img" aria-label="IoU of each class">']
    for tick in range(0, 101, 20):
        x = _NAME_WIDTH + tick * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top - 6}" x2="{x:.1f}" y2="{height}"/>'
                     f'<text class="axis" x="{x:.1f}" y="12" text-anchor="middle">{tick}</text>')
    for row, (name, series) in enumerate(values.items()):
        parts += _bar_group(name, series, colors.get(name, 'none'), css_classes, top + row * _BAR_ROW, scale)
    return '\n'.join([*parts, '</svg>'])


def _bar_group(name: str, series: Mapping[str, float | None], color: str, css_classes: Mapping[str, str], y: int,
               scale: float) -> list[str]:
    middle = y + _BAR_ROW // 2
    parts = [f'<rect class="swatch" x="0" y="{middle - 6}" width="12" height="12" rx="3" fill="{color}"/>'
             f'<text class="name" x="19" y="{middle + 4}">{escape(name)}</text>']
    shown = []
    for index, (key, css) in enumerate(css_classes.items()):
        value = series.get(key)
        value = math.nan if value is None else value
        missing = not math.isfinite(value)
        shown.append('–' if missing else f'{value:.0f}')
        width = 0 if missing else max(value * scale, 1)
        bar_y = middle - (len(css_classes) * (_BAR + 1)) // 2 + index * (_BAR + 1)
        parts.append(f'<rect class="{css}" x="{_NAME_WIDTH}" y="{bar_y}" width="{width:.1f}" height="{_BAR}" rx="2">'
                     f'<title>{escape(name)}, {escape(key)}: {shown[-1]}</title></rect>')
    parts.append(f'<text class="value" x="{_BAR_WIDTH}" y="{middle + 4}" text-anchor="end">'
                 f'{" → ".join(shown)}</text>')
    return parts


def _grid(x_ticks: list[float], y_ticks: list[float], place: Place) -> list[str]:
    parts = []
    for tick in y_ticks:
        x, y = place(0, tick)
        parts.append(f'<line class="grid" x1="{x}" y1="{y}" x2="{_WIDTH - _RIGHT}" y2="{y}"/>'
                     f'<text class="axis" x="{x - 6}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    for tick in x_ticks:
        x, y = place(tick, 0)
        parts.append(f'<text class="axis" x="{x}" y="{y + 16}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text class="axis" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">iterations</text>')
    return parts


def _curve(name: str, points: Points, place: Place, css: str) -> list[str]:
    path = ' '.join(f'{x},{y}' for x, y in (place(*point) for point in points))
    parts = [f'<polyline class="{css}" points="{path}"><title>{escape(name)}</title></polyline>']
    if len(points) <= 30:
        for point in points:
            x, y = place(*point)
            parts.append(f'<circle class="{css}" cx="{x}" cy="{y}" r="3">'
                         f'<title>{escape(name)}, iteration {point[0]:g}: {point[1]:.2f}</title></circle>')
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from ``low`` to at least ``high``, four to seven of them."""
    span = high - low or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= 6)
    return [low + step * index for index in range(math.ceil(span / step - 1e-9) + 1)]
