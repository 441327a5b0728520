"""Small SVG charts for the report. Colours come from the page's style sheet, so they follow light and dark."""
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]
Place = Callable[[float, float], tuple[float, float]]

_WIDTH, _HEIGHT = 520, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 14, 42


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
    values = [0.0, *(y for _, y in points)]
    y_ticks = _ticks(min(values), max(values))
    scale_x = (_WIDTH - _LEFT - _RIGHT) / x_ticks[-1]
    scale_y = (_HEIGHT - _TOP - _BOTTOM) / (y_ticks[-1] - y_ticks[0])

    def place(x: float, y: float) -> tuple[float, float]:
        return round(_LEFT + x * scale_x, 1), round(_HEIGHT - _BOTTOM - (y - y_ticks[0]) * scale_y, 1)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(y_label)} over iterations">']
    parts += _grid(x_ticks, y_ticks, place)
    for name, curve in curves.items():
        parts += _curve(name, curve, place, css_classes[name])
    return '\n'.join([*parts, '</svg>'])


def _grid(x_ticks: list[float], y_ticks: list[float], place: Place) -> list[str]:
    parts = []
    for tick in y_ticks:
        x, y = place(0, tick)
        parts.append(f'<line class="grid" x1="{x}" y1="{y}" x2="{_WIDTH - _RIGHT}" y2="{y}"/>'
                     f'<text class="axis" x="{x - 6}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    for tick in x_ticks:
        x, y = place(tick, y_ticks[0])
        parts.append(f'<text class="axis" x="{x}" y="{y + 16}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text class="axis" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 2}" text-anchor="end">iterations</text>')
    return parts


def _curve(name: str, points: Points, place: Place, css: str) -> list[str]:
    path = ' '.join(f'{x},{y}' for x, y in (place(*point) for point in points))
    parts = [f'<polyline class="{css}" points="{path}"><title>{escape(name)}</title></polyline>']
    if len(points) <= 30:
        for point in points:
            x, y = place(*point)
            parts.append(f'<circle class="{css}" cx="{x}" cy="{y}" r="3">'
                         f'<title>{escape(name)}, iteration {point[0]:g}: {point[1]:.4g}</title></circle>')
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers that enclose ``low`` and ``high``, four to eight of them."""
    span = high - low or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= 6)
    first, last = math.floor(low / step + 1e-9), math.ceil((high if high > low else low + span) / step - 1e-9)
    return [step * index for index in range(first, last + 1)]
