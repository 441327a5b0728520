"""Things on a table: where they stand. Lengths are shares of the image height; ``unit`` is a thing's own number in [0, 1)."""
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from .tabletop_looks import TabletopLayout


class TabletopId(IntEnum):
    """Class ids; 255 is left out of training and scores."""

    WALL = 0
    TABLE = 1
    BOTTLE = 2
    MUG = 3
    BOWL = 4
    BALL = 5
    BOOK = 6
    LAMP = 7
    IGNORE = 255


THINGS = (TabletopId.BOTTLE, TabletopId.MUG, TabletopId.BOWL, TabletopId.BALL, TabletopId.BOOK, TabletopId.LAMP)
_HEIGHT = {TabletopId.BOTTLE: 0.95, TabletopId.MUG: 0.46, TabletopId.BOWL: 0.4, TabletopId.BALL: 0.46, TabletopId.BOOK: 0.72,
           TabletopId.LAMP: 1.0}
_APART = 0.2


@dataclass(frozen=True)
class Thing:
    """One thing: ``x`` and ``foot`` (row) of the middle of its foot, its height, whether it is mirrored."""

    kind: TabletopId
    x: float
    foot: float
    height: float
    mirrored: bool
    unit: float


@dataclass(frozen=True)
class Napkin:
    """A cloth on the table, which no class names: corners [4, 2] as (x, row)."""

    corners: tuple[tuple[float, float], ...]
    unit: float


@dataclass(frozen=True)
class Tabletop:
    """A table before a wall, with things from the farthest to the nearest."""

    edge: float
    napkins: tuple[Napkin, ...]
    things: tuple[Thing, ...]
    unit: float


def sample_tabletop(layout: TabletopLayout, aspect: float, rng: np.random.Generator) -> Tabletop:
    """Draws one table.

    Args:
        layout: Statistics of the domain.
        aspect: Width of the image over its height.
        rng: Source of all randomness.

    Returns:
        The table.
    """
    edge = float(rng.uniform(*layout.edge))
    things: list[Thing] = []
    for _ in range(int(rng.integers(layout.number[0], layout.number[1] + 1)) * 3):
        x, foot = float(rng.uniform(0.04, aspect - 0.04)), float(rng.uniform(edge + 0.05, 0.99))
        if len(things) < layout.number[1] and all(abs(x - other.x) + abs(foot - other.foot) > _APART for other in things):
            things.append(_sample_thing(layout, x, foot, edge, rng))
    napkins = tuple(_sample_napkin(edge, aspect, rng) for _ in range(int(rng.random() < 0.4)))
    return Tabletop(edge, napkins, tuple(sorted(things, key=lambda thing: thing.foot)), float(rng.random()))


def _sample_thing(layout: TabletopLayout, x: float, foot: float, edge: float, rng: np.random.Generator) -> Thing:
    kind = THINGS[int(rng.integers(len(THINGS)))]
    nearness = 0.8 + 0.35 * (foot - edge) / (1 - edge)
    height = _HEIGHT[kind] * float(rng.uniform(*layout.size)) * nearness
    return Thing(kind, x, foot, height, bool(rng.random() < 0.5), float(rng.random()))


def _sample_napkin(edge: float, aspect: float, rng: np.random.Generator) -> Napkin:
    x, row, turn = rng.uniform(0.1, aspect - 0.1), rng.uniform(edge + 0.12, 0.95), rng.uniform(0, np.pi / 2)
    angle = turn + np.arange(4) * np.pi / 2
    half = rng.uniform(0.1, 0.18)
    corners = tuple((float(x + half * np.cos(a)), float(row + 0.45 * half * np.sin(a))) for a in angle)
    return Napkin(corners, float(rng.random()))
