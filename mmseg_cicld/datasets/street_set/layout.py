"""Draws a street: where the road, its sides, and everything on them are. No colour is decided here."""
import math

import numpy as np

from .looks import Layout
from .scene import Backdrop, Barrier, Building, Cycle, Item, Person, Plant, Post, Road, Scene, Side, Vehicle, View

FAR = 130.0
"""Where streets end, metres ahead of the camera."""

_PIECE = 8.0
_LENGTH = {'sedan': 4.4, 'hatch': 3.9, 'van': 4.9, 'bus': 11.5, 'truck': 8.6, 'train': 25.0}


def sample_scene(layout: Layout, rng: np.random.Generator) -> Scene:
    """Draws one street.

    Args:
        layout: Statistics of the domain.
        rng: Source of all randomness.

    Returns:
        The street.
    """
    road = _sample_road(layout, rng)
    sides = (_sample_side(layout, road, -1, rng), _sample_side(layout, road, 1, rng))
    items: list[Item] = _sample_backdrop(rng)
    for side in sides:
        items += _sample_lots(layout, road, side, rng)
        items += _sample_furniture(road, side, rng)
        items += _sample_parked_cycles(road, side, rng)
    items += _sample_vehicles(layout, road, rng)
    items += _sample_people(layout, road, sides, rng)
    bonnet = float(rng.uniform(0.05, 0.11)) if rng.random() < layout.bonnet else 0.0
    return Scene(_sample_view(layout, road, rng), road, sides, tuple(items), bonnet)


def _sample_view(layout: Layout, road: Road, rng: np.random.Generator) -> View:
    lateral = road.lane_width * (0.5 + rng.uniform(-0.12, 0.12))
    if road.lanes > 1 and rng.random() < 0.7:
        lateral += road.lane_width
    yaw = rng.uniform(-layout.yaw, layout.yaw)
    roll = rng.uniform(-layout.roll, layout.roll)
    return View(lateral, rng.uniform(*layout.camera_height), math.radians(rng.uniform(*layout.pitch)),
                math.radians(yaw), math.radians(roll), rng.uniform(*layout.focal))


def _sample_road(layout: Layout, rng: np.random.Generator) -> Road:
    lanes = int(rng.integers(layout.lanes[0], layout.lanes[1] + 1))
    lane_width = float(rng.uniform(*layout.lane_width))
    parking = 2.2 if rng.random() < 0.1 + layout.parked else 0.0
    begin = float(rng.uniform(12, 38))
    crossing = (begin, begin + float(rng.uniform(8, 13))) if rng.random() < layout.crossing else None
    crosswalk = crossing[0] - 4.5 if crossing else (float(rng.uniform(9, 28)) if rng.random() < 0.35 else None)
    rails = -lane_width * 0.5 if rng.random() < 0.34 else None
    return Road(lanes * lane_width + parking, lane_width, lanes, parking,
                float(rng.uniform(-layout.curve, layout.curve)), crossing, crosswalk, rails)


def _sample_side(layout: Layout, road: Road, sign: int, rng: np.random.Generator) -> Side:
    verge = float(rng.uniform(1.2, 2.6)) if rng.random() < layout.verge else 0.0
    sidewalk = float(rng.uniform(*layout.sidewalk))
    facade = road.half_width + verge + sidewalk + float(rng.uniform(*layout.setback))
    weights = np.array(layout.lots) * rng.uniform(0.4, 1.6, 4)
    lots, z = [], -8.0
    while z < FAR:
        kind = str(rng.choice(['building', 'wall', 'fence', 'park'], p=weights / weights.sum()))
        end = z + float(rng.uniform(9, 20) if kind == 'building' else rng.uniform(14, 34))
        if road.crossing and z < road.crossing[1] and end > road.crossing[0] - 2:
            if road.crossing[0] - 2 - z > 5:
                lots.append((z, road.crossing[0] - 2, kind))
            lots.append((max(z, road.crossing[0] - 2), road.crossing[1] + 2, 'gap'))
            z = road.crossing[1] + 2
            continue
        lots.append((z, end, kind))
        z = end
    return Side(sign, verge, sidewalk, facade, tuple(lots))


def _sample_backdrop(rng: np.random.Generator) -> list[Item]:
    """Hills of trees and rows of houses that close the view."""
    items: list[Item] = []
    for z, low, high in ((230.0, 8.0, 26.0), (180.0, 5.0, 16.0)):
        x = -230.0
        while x < 230:
            width = float(rng.uniform(12, 45))
            kind = 'trees' if rng.random() < 0.55 else 'houses'
            items.append(Backdrop(z, kind, x, x + width, z, float(rng.uniform(low, high)), float(rng.random())))
            x += width * float(rng.uniform(0.8, 1.0))
    return items


def _sample_lots(layout: Layout, road: Road, side: Side, rng: np.random.Generator) -> list[Item]:
    items: list[Item] = []
    for begin, end, kind in side.lots:
        if kind == 'building':
            items.append(_building(layout, road, side, (begin, end), rng))
        elif kind in ('wall', 'fence'):
            items += _barrier(road, side, (begin, end), kind, rng)
        elif kind == 'park':
            items += _park(road, side, (begin, end), rng)
    return items


def _building(layout: Layout, road: Road, side: Side, span: tuple[float, float], rng: np.random.Generator) -> Building:
    step_back = float(rng.choice([0.0, 0.0, rng.uniform(0.3, 1.5)]))
    lateral = side.sign * (side.facade + step_back)
    storeys = int(rng.integers(layout.storeys[0], layout.storeys[1] + 1))
    gap = 0.0 if rng.random() < 0.75 else min(2.5, 0.2 * (span[1] - span[0]))
    front = (road.place(lateral, span[0]), road.place(lateral, span[1] - gap))
    turn = road.heading(span[0])
    outward = (side.sign * math.cos(turn), -side.sign * math.sin(turn))
    return Building(span[1], front, outward, float(rng.uniform(8, 13)), storeys, float(rng.uniform(2.9, 3.5)),
                    bool(storeys <= 4 and rng.random() < 0.6), bool(rng.random() < 0.5), float(rng.random()))


def _barrier(road: Road, side: Side, span: tuple[float, float], kind: str, rng: np.random.Generator) -> list[Item]:
    """A wall or fence in short straight pieces, with trees or houses behind it."""
    height = float(rng.uniform(1.7, 3.2) if kind == 'wall' else rng.uniform(1.2, 2.3))
    unit, lateral = float(rng.random()), side.sign * side.facade
    items: list[Item] = []
    pieces = max(1, math.ceil((span[1] - span[0]) / _PIECE))
    edges = np.linspace(*span, pieces + 1)
    density = rng.choice([0.3, 0.9])
    for a, b in zip(edges[:-1].tolist(), edges[1:].tolist()):
        items.append(Barrier(b, kind, (road.place(lateral, a), road.place(lateral, b)), height, unit))
        for _ in range(int(rng.poisson(density * 1.6))):
            x, z = road.place(lateral + side.sign * rng.uniform(1.5, 9), float(rng.uniform(a, b)))
            items.append(_plant(b + 0.1 + 0.001 * z, x, z, rng))
    back = lateral + side.sign * float(rng.uniform(11, 18))
    if rng.random() < 0.6:
        front = (road.place(back, span[0]), road.place(back, span[1]))
        items.append(Building(span[1] + _PIECE, front, (float(side.sign), 0.0), 10.0, int(rng.integers(2, 5)), 3.1,
                              bool(rng.random() < 0.5), False, float(rng.random())))
    return items


def _plant(order: float, x: float, z: float, rng: np.random.Generator, bushes: float = 0.2) -> Plant:
    kind = 'bush' if rng.random() < bushes else str(rng.choice(['round', 'round', 'tall', 'conifer']))
    height = float(rng.uniform(1.0, 2.4) if kind == 'bush' else rng.uniform(5.0, 10.5))
    return Plant(order, kind, x, z, height, float(rng.random()))


def _park(road: Road, side: Side, span: tuple[float, float], rng: np.random.Generator) -> list[Item]:
    items: list[Item] = []
    if rng.random() < 0.4:
        edges = np.linspace(*span, max(1, math.ceil((span[1] - span[0]) / _PIECE)) + 1)
        height, unit = float(rng.uniform(0.8, 1.6)), float(rng.random())
        for a, b in zip(edges[:-1].tolist(), edges[1:].tolist()):
            base = (road.place(side.sign * side.facade, a), road.place(side.sign * side.facade, b))
            items.append(Barrier(b, 'hedge', base, height, unit))
    for _ in range(int(rng.poisson((span[1] - span[0]) * 0.32)) + 1):
        z = float(rng.uniform(*span))
        x, z = road.place(side.sign * (side.facade + rng.uniform(1.5, 16)), z)
        items.append(_plant(span[1] + 0.1 + 0.001 * z, x, z, rng, bushes=0.35))
    return items


def _clear_of_crossing(road: Road, z: float, margin: float = 1.0) -> bool:
    return road.crossing is None or not road.crossing[0] - margin < z < road.crossing[1] + margin


def _sample_furniture(road: Road, side: Side, rng: np.random.Generator) -> list[Item]:
    """Lamps, signs, signals, bollards, bins and street trees along the kerb."""
    items: list[Item] = []
    kerb = road.half_width + 0.5
    trees = rng.random() < 0.55
    z, spacing = float(rng.uniform(5, 14)), float(rng.uniform(9, 16))
    kinds = ['sign', 'lamp', 'tree', 'bollard', 'bin', 'board', 'none']
    weights = np.array([0.28, 0.24, 0.3 if trees else 0.02, 0.12, 0.08, 0.06, 0.1])
    while z < 90:
        kind = str(rng.choice(kinds, p=weights / weights.sum()))
        x, _ = road.place(side.sign * kerb, z)
        if kind == 'tree' and _clear_of_crossing(road, z):
            items.append(_plant(z, x + side.sign * 0.4, z, rng, bushes=0.0))
        elif kind not in ('tree', 'none') and _clear_of_crossing(road, z):
            items.append(Post(z, kind, x, z, -side.sign, float(rng.random())))
        z += spacing * float(rng.uniform(0.5, 1.2))
    signals = road.crosswalk if road.crosswalk is not None and (road.crossing or rng.random() < 0.8) else None
    if signals is not None:
        kind = 'mast' if rng.random() < 0.4 and side.sign > 0 else 'signal'
        x, _ = road.place(side.sign * kerb, signals)
        items.append(Post(signals, kind, x, signals, -side.sign, float(rng.random())))
    return items


def _sample_parked_cycles(road: Road, side: Side, rng: np.random.Generator) -> list[Item]:
    """Bicycles and motorcycles that stand on the sidewalk."""
    items: list[Item] = []
    for kind, chance in (('bicycle', 0.42), ('motorcycle', 0.2)):
        if rng.random() > chance:
            continue
        z, turn = float(rng.uniform(8, 26)), float(rng.uniform(-1.4, 1.4))
        for _ in range(int(rng.integers(1, 5 if kind == 'bicycle' else 3))):
            lateral = side.sign * (road.half_width + side.verge + float(rng.uniform(0.6, 1.2)))
            x, _ = road.place(lateral, z)
            items.append(Cycle(z, kind, x, z, turn + float(rng.normal(0, 0.12)), False, float(rng.random())))
            z += float(rng.uniform(0.8, 1.8))
    return items


class _Lanes:
    """Keeps vehicles of one lane from standing in each other."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, float, float]] = []

    def claim(self, lateral: float, begin: float, length: float) -> bool:
        """Takes a stretch of a lane if it is free; lanes are told apart by their lateral position."""
        for other, low, high in self._taken:
            if abs(other - lateral) < 1.9 and begin < high + 1.0 and begin + length > low - 1.0:
                return False
        self._taken.append((lateral, begin, begin + length))
        return True


def _vehicle(road: Road, kind: str, lateral: float, rear: float, away: bool, rng: np.random.Generator) -> Vehicle:
    length = _LENGTH[kind]
    middle = rear + length / 2
    x, _ = road.place(lateral, middle)
    yaw = road.heading(middle) + (0.0 if away else math.pi) + float(rng.normal(0, 0.015))
    scale = tuple(float(value) for value in rng.uniform(0.94, 1.07, 3))
    return Vehicle(rear, kind, x, middle, yaw, scale, float(rng.random()))


def _car_kind(rng: np.random.Generator) -> str:
    return str(rng.choice(['sedan', 'hatch', 'van'], p=[0.42, 0.36, 0.22]))


def _sample_vehicles(layout: Layout, road: Road, rng: np.random.Generator) -> list[Item]:
    lanes, items = _Lanes(), []
    items += _large_vehicles(road, lanes, rng)
    items += _riders(road, lanes, rng)
    wanted = int(rng.poisson(layout.traffic)) + 1
    for _ in range(wanted * 2):
        away = bool(rng.random() < 0.5)
        lane = (int(rng.integers(road.lanes)) + 0.5) * road.lane_width
        kind, rear = _car_kind(rng), float(7.5 + 55 * rng.random() ** 1.4)
        lateral = lane if away else -lane
        if len(items) < wanted + 6 and lanes.claim(lateral, rear, _LENGTH[kind]):
            items.append(_vehicle(road, kind, lateral, rear, away, rng))
    if road.parking:
        items += _parked(layout, road, rng)
    return items


def _large_vehicles(road: Road, lanes: _Lanes, rng: np.random.Generator) -> list[Item]:
    """Trucks, buses and trains, each in about every fourth image and near enough to be seen."""
    items: list[Item] = []
    if road.rails is not None and rng.random() < 0.85:
        rear = float(rng.uniform(8, 26))
        lanes.claim(road.rails, rear, _LENGTH['train'])
        items.append(_vehicle(road, 'train', road.rails, rear, bool(rng.random() < 0.3), rng))
    for kind in ('bus', 'truck'):
        for _ in range(2):
            if rng.random() > 0.24:
                continue
            away = bool(rng.random() < 0.55)
            lane = (road.lanes - 0.5) * road.lane_width
            lateral, rear = (lane if away else -lane), float(rng.uniform(10, 32))
            if lanes.claim(lateral, rear, _LENGTH[kind]):
                items.append(_vehicle(road, kind, lateral, rear, away, rng))
    return items


def _riders(road: Road, lanes: _Lanes, rng: np.random.Generator) -> list[Item]:
    """Cyclists at the edge of the lanes or crossing, motorcyclists in the lanes."""
    items: list[Item] = []
    for kind, chance in (('bicycle', 0.34), ('motorcycle', 0.3)):
        for _ in range(2):
            if rng.random() > chance:
                continue
            away = bool(rng.random() < 0.6)
            edge = road.half_width - road.parking - (0.9 if kind == 'bicycle' else road.lane_width * 0.5)
            lateral, z = (edge if away else -edge), float(rng.uniform(6.5, 22))
            yaw = road.heading(z) + (0.0 if away else math.pi) + float(rng.normal(0, 0.25))
            if rng.random() < 0.3:
                lateral, yaw = float(rng.uniform(-edge, edge)), float(rng.choice([-1, 1]) * rng.normal(1.5, 0.15))
            if lanes.claim(lateral, z - 1, 2.0):
                x, _ = road.place(lateral, z)
                items.append(Cycle(z, kind, x, z, yaw, True, float(rng.random())))
    return items


def _parked(layout: Layout, road: Road, rng: np.random.Generator) -> list[Item]:
    items: list[Item] = []
    for sign in (-1, 1):
        z = float(rng.uniform(3, 9))
        while z < 80:
            kind = _car_kind(rng)
            clear = _clear_of_crossing(road, z, 6.0) and _clear_of_crossing(road, z + 4.5, 4.0)
            if clear and rng.random() < layout.parked:
                items.append(_vehicle(road, kind, sign * (road.half_width - 1.1), z, sign > 0, rng))
            z += _LENGTH[kind] + float(rng.uniform(0.7, 2.2))
    return items


def _sample_people(layout: Layout, road: Road, sides: tuple[Side, Side], rng: np.random.Generator) -> list[Item]:
    """Pedestrians alone and in pairs on the sidewalks, and some on the zebra crossing."""
    items: list[Item] = []
    for _ in range(int(rng.poisson(layout.pedestrians)) + 1):
        side = sides[int(rng.integers(2))]
        reach = road.half_width + side.verge
        z = float(5.5 + 32 * rng.random() ** 1.3)
        lateral = side.sign * float(rng.uniform(reach + 0.5, reach + side.sidewalk - 0.3))
        yaw = float(rng.choice([0.0, math.pi]) + rng.normal(0, 0.35))
        for companion in range(1 + int(rng.random() < 0.3)):
            items.append(_person(road, lateral + 0.6 * companion, z + 0.2 * companion, yaw, rng))
    if road.crosswalk is not None:
        for _ in range(int(rng.poisson(1.4))):
            lateral = float(rng.uniform(-road.half_width, road.half_width))
            yaw = float(rng.choice([-1, 1]) * math.pi / 2)
            items.append(_person(road, lateral, road.crosswalk + float(rng.uniform(0.4, 2.8)), yaw, rng))
    return items


def _person(road: Road, lateral: float, z: float, yaw: float, rng: np.random.Generator) -> Person:
    x, _ = road.place(lateral, z)
    return Person(z, x, z, yaw, float(rng.uniform(1.5, 1.9)), float(rng.uniform(-1, 1)), float(rng.random()))
