"""Silhouettes of things by class: the shape alone carries the class.

Outlines are in a thing's own axes: x to the right from the middle of its foot, y up from the foot, the height being 1.
"""
import cv2
import numpy as np

from .tabletop_scene import TabletopId, Thing

_MARGIN = 0.75
"""Half the width of the box that every silhouette fits in, in heights; bowls are the widest."""

_BOX = {TabletopId.BOWL: 1.3, TabletopId.MUG: 1.0}


def silhouette(thing: Thing, scale: float) -> tuple[np.ndarray, float]:
    """Draws the silhouette of a thing.

    Args:
        thing: The thing.
        scale: Pixels per image height.

    Returns:
        bool [h, w], the foot being in the middle of the lowest row; half its width in pixels.
    """
    height = max(4, round(thing.height * scale))
    half = max(3, round(height * _BOX.get(thing.kind, _MARGIN)))
    mask = np.zeros((height, 2 * half), np.uint8)
    for outline, value in _OUTLINES[thing.kind](thing.unit):
        pixels = np.array(outline) * (1, -1) * height + (half, height)
        cv2.fillPoly(mask, [np.rint(pixels * 16 - 8).astype(np.int32)], value, shift=4)
    return (mask[:, ::-1] if thing.mirrored else mask) > 0, half


def _both_sides(profile: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Mirrors a profile of (half width, y) from the foot to the top."""
    return profile + [(-x, y) for x, y in reversed(profile)]


def _arc(x: float, y: float, reach: tuple[float, float], span: tuple[float, float] = (0, 2 * np.pi)
         ) -> list[tuple[float, float]]:
    angle = np.linspace(*span, 24)
    return [(float(x + reach[0] * np.cos(a)), float(y + reach[1] * np.sin(a))) for a in angle]


def _bottle(unit: float) -> list:
    half, neck = 0.15 + 0.05 * (unit * 5 % 1), 0.05 + 0.015 * (unit * 7 % 1)
    shoulder = 0.5 + 0.14 * (unit * 11 % 1)
    return [(_both_sides([(half * 0.94, 0), (half, 0.03), (half, shoulder), (half * 0.8, shoulder + 0.09),
                          (neck, shoulder + 0.2), (neck, 0.93), (neck * 1.35, 0.93), (neck * 1.35, 1.0)]), 255)]


def _mug(unit: float) -> list:
    half, taper = 0.36 + 0.1 * (unit * 5 % 1), 0.9 + 0.16 * (unit * 7 % 1)
    body = _both_sides([(half * taper * 0.95, 0), (half * taper, 0.05), (half, 1.0)])
    reach = 0.26 + 0.06 * (unit * 11 % 1)
    return [(_arc(half * 0.95, 0.54, (reach, 0.34)), 255), (_arc(half * 0.95, 0.54, (reach * 0.55, 0.21)), 0), (body, 255)]


def _bowl(unit: float) -> list:
    half = 0.85 + 0.3 * (unit * 5 % 1)
    side = _arc(0, 1.0, (half, 0.93), (np.pi, 2 * np.pi))
    foot = _both_sides([(half * 0.36, 0), (half * 0.4, 0.16)])
    return [(side, 255), (foot, 255)]


def _ball(unit: float) -> list:
    return [(_arc(0, 0.5, (0.5, 0.5)), 255)]


def _book(unit: float) -> list:
    half, lean = 0.27 + 0.13 * (unit * 5 % 1), 0.3 * (unit * 7 % 1)
    sin, cos = np.sin(lean), np.cos(lean)
    tall = (1 - 2 * half * sin) / cos
    corners = [(-half, 0), (-half + 2 * half * cos, 2 * half * sin), (-half + 2 * half * cos - tall * sin, 1.0),
               (-half - tall * sin, tall * cos)]
    return [([(x + tall * sin / 2, y) for x, y in corners], 255)]


def _lamp(unit: float) -> list:
    wide, top = 0.3 + 0.08 * (unit * 5 % 1), 0.14 + 0.08 * (unit * 7 % 1)
    low = 0.56 + 0.08 * (unit * 11 % 1)
    return [(_both_sides([(0.2, 0), (0.2, 0.05), (0.04, 0.1), (0.028, low)]), 255),
            (_both_sides([(wide, low), (top, 1.0)]), 255)]


_OUTLINES = {TabletopId.BOTTLE: _bottle, TabletopId.MUG: _mug, TabletopId.BOWL: _bowl, TabletopId.BALL: _ball,
             TabletopId.BOOK: _book, TabletopId.LAMP: _lamp}
