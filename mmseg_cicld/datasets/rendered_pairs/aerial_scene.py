"""What land consists of, seen from above: plain records without any colour.

World coordinates are those of the street set: x to the right, y up, z forward, metres. ``unit`` is a thing's own number in
[0, 1), from which its colour and small variations follow.
"""
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Way:
    """A road or track along one axis through the whole land; ``place`` on the other axis, ``paved`` or of soil."""

    place: float
    width: float
    paved: bool
    sidewalk: float


@dataclass(frozen=True)
class Block:
    """Land between four ways: its kind, its limits (x0, x1, z0, z1) and the direction of the rows of its crops."""

    kind: str
    limits: tuple[float, float, float, float]
    rows: float
    unit: float


@dataclass(frozen=True)
class Patch:
    """A rectangle on the ground; ``kind`` is 'paving', 'soil' or 'pond' (an ellipse in it)."""

    kind: str
    x: float
    z: float
    half_x: float
    half_z: float


@dataclass(frozen=True)
class House:
    """A box with a flat or a pitched roof; ``yaw`` in radians."""

    x: float
    z: float
    half_x: float
    half_z: float
    yaw: float
    height: float
    pitched: bool
    unit: float


@dataclass(frozen=True)
class Tree:
    """A crown."""

    x: float
    z: float
    radius: float
    unit: float


@dataclass(frozen=True)
class Car:
    """A car; ``yaw`` 0 points along z."""

    x: float
    z: float
    yaw: float
    unit: float


@dataclass(frozen=True)
class Clutter:
    """A pool or container, which no class names."""

    x: float
    z: float
    half_x: float
    half_z: float
    height: float
    unit: float


@dataclass(frozen=True)
class River:
    """A winding band of water along x: z of its middle is ``offset + amplitude * sin(x / length)``."""

    offset: float
    amplitude: float
    length: float
    half_width: float

    def distance(self, x: np.ndarray | float, z: np.ndarray | float) -> np.ndarray | float:
        """Distance from the bank along z in metres, negative in the water."""
        return np.abs(z - self.offset - self.amplitude * np.sin(np.asarray(x) / self.length)) - self.half_width


@dataclass(frozen=True)
class Land:
    """All of it."""

    columns: tuple[Way, ...]
    rows: tuple[Way, ...]
    blocks: tuple[tuple[Block, ...], ...]
    river: River | None
    patches: list[Patch] = field(default_factory=list)
    houses: list[House] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    cars: list[Car] = field(default_factory=list)
    clutter: list[Clutter] = field(default_factory=list)
