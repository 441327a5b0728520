"""What a street consists of: plain records in world coordinates, without any colour.

Every record that is painted as an object has ``order``: records are painted from the largest to the smallest. It is the
depth of the record's far end for what lines the street, of its near end for what stands on the road, so that nearer
things come later. ``unit`` is an object's own number in [0, 1), from which its colour and small variations follow.
"""
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Road:
    """The road: a strip about the curve ``x = curve * z**2 / 2``.

    Args:
        half_width: From the centre line to the kerb, metres.
        lane_width: Metres.
        lanes: Lanes per direction.
        parking: Width of a parking strip inside the kerbs, 0 for none.
        curve: Curvature in 1/m.
        crossing: Begin and end along z of an intersection, or None.
        crosswalk: Begin along z of a zebra crossing, or None.
        rails: Lateral position of a tram track, or None.
    """

    half_width: float
    lane_width: float
    lanes: int
    parking: float
    curve: float
    crossing: tuple[float, float] | None
    crosswalk: float | None
    rails: float | None

    def centre(self, z: float | np.ndarray) -> float | np.ndarray:
        """World x of the centre line at z."""
        return 0.5 * self.curve * z * z

    def place(self, lateral: float, z: float) -> tuple[float, float]:
        """World (x, z) of a point given by its distance to the right of the centre line."""
        return self.centre(z) + lateral, z

    def heading(self, z: float) -> float:
        """Direction of the road at z in radians to the right."""
        return float(np.arctan(self.curve * z))


@dataclass(frozen=True)
class Side:
    """One side of the road; lateral distances are positive outwards.

    Args:
        sign: -1 for the left, 1 for the right.
        verge: Width of the grass strip behind the kerb, 0 for none.
        sidewalk: Width of the sidewalk.
        facade: Distance of the facades from the centre line.
        lots: (begin, end, kind) along z; kind is 'building', 'wall', 'fence', 'park' or 'gap'.
    """

    sign: int
    verge: float
    sidewalk: float
    facade: float
    lots: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True)
class Building:
    """A block with a front to the street and an end towards the camera."""

    order: float
    front: tuple[tuple[float, float], tuple[float, float]]
    outward: tuple[float, float]
    depth: float
    storeys: int
    storey_height: float
    gable: bool
    shop: bool
    unit: float


@dataclass(frozen=True)
class Barrier:
    """A wall, fence or hedge between two ground points (x, z); ``kind`` names which."""

    order: float
    kind: str
    base: tuple[tuple[float, float], tuple[float, float]]
    height: float
    unit: float


@dataclass(frozen=True)
class Plant:
    """A tree or bush; ``kind`` is 'round', 'tall', 'conifer' or 'bush'."""

    order: float
    kind: str
    x: float
    z: float
    height: float
    unit: float


@dataclass(frozen=True)
class Vehicle:
    """A car, van, truck, bus or train; ``yaw`` 0 drives away from the camera, in radians to the right."""

    order: float
    kind: str
    x: float
    z: float
    yaw: float
    scale: tuple[float, float, float]
    unit: float


@dataclass(frozen=True)
class Person:
    """A pedestrian; ``stride`` in [-1, 1] is the phase of the legs."""

    order: float
    x: float
    z: float
    yaw: float
    height: float
    stride: float
    unit: float


@dataclass(frozen=True)
class Cycle:
    """A bicycle or motorcycle (``kind``), with a rider or parked."""

    order: float
    kind: str
    x: float
    z: float
    yaw: float
    ridden: bool
    unit: float


@dataclass(frozen=True)
class Post:
    """Street furniture; ``kind`` is 'lamp', 'sign', 'signal', 'mast', 'bollard', 'board' or 'bin' (ignored)."""

    order: float
    kind: str
    x: float
    z: float
    inward: float
    unit: float


@dataclass(frozen=True)
class Backdrop:
    """Far-away ground cover at the end of the view between two world x; ``kind`` is 'trees' or 'houses'."""

    order: float
    kind: str
    left: float
    right: float
    z: float
    height: float
    unit: float


Item = Building | Barrier | Plant | Vehicle | Person | Cycle | Post | Backdrop


@dataclass(frozen=True)
class View:
    """Where the camera is; angles in radians, ``focal`` as a share of the image width."""

    lateral: float
    height: float
    pitch: float
    yaw: float
    roll: float
    focal: float


@dataclass(frozen=True)
class Scene:
    """A street with everything in it. ``bonnet`` is the share of image rows the own car hides."""

    view: View
    road: Road
    sides: tuple[Side, Side]
    items: tuple[Item, ...]
    bonnet: float
