"""Draws land: roads in a grid, what lies between them, and what stands there. No colour is decided here."""
import math

import numpy as np

from .aerial_looks import AerialLayout
from .aerial_scene import Block, Car, Clutter, House, Land, Patch, River, Tree, Way

EXTENT = 130.0
"""Land reaches this far from the middle of the world."""

KINDS = ('homes', 'halls', 'field', 'wood', 'site', 'park')
"""What lies between roads; the weights of a layout are in this order."""


def sample_land(layout: AerialLayout, rng: np.random.Generator) -> Land:
    """Draws the land of one image."""
    columns, rows = _sample_ways(layout, rng), _sample_ways(layout, rng)
    blocks = tuple(tuple(_sample_block(layout, left, right, low, high, rng) for low, high in zip(rows[:-1], rows[1:]))
                   for left, right in zip(columns[:-1], columns[1:]))
    river = None
    if rng.random() < layout.river:
        river = River(*(float(rng.uniform(*span)) for span in ((-45, 45), (5, 16), (14, 30), (5, 11))))
    land = Land(columns, rows, blocks, river)
    for block in (block for column in blocks for block in column):
        _FILL[block.kind](land, block, layout, rng)
    _sample_traffic(land, layout, rng)
    return land


def _sample_ways(layout: AerialLayout, rng: np.random.Generator) -> tuple[Way, ...]:
    ways, place = [], -EXTENT - float(rng.uniform(0, 30))
    while place < EXTENT + 40:
        paved = bool(rng.random() >= layout.track)
        width = float(rng.uniform(6.0, 10.0) if paved else rng.uniform(3.0, 4.5))
        ways.append(Way(place, width, paved, float(rng.uniform(1.4, 2.4)) if paved and rng.random() < 0.6 else 0.0))
        place += float(rng.uniform(*layout.block))
    return tuple(ways)


def _sample_block(layout: AerialLayout, left: Way, right: Way, low: Way, high: Way, rng: np.random.Generator) -> Block:
    weights = np.array(layout.blocks) / sum(layout.blocks)
    margins = [way.width / 2 + way.sidewalk for way in (left, right, low, high)]
    limits = (left.place + margins[0], right.place - margins[1], low.place + margins[2], high.place - margins[3])
    rows = float(rng.choice([0.0, math.pi / 2]) + rng.normal(0, 0.06))
    return Block(str(rng.choice(KINDS, p=weights)), limits, rows, float(rng.random()))


def _spot(block: Block, margin: float, rng: np.random.Generator) -> tuple[float, float]:
    x0, x1, z0, z1 = block.limits
    return float(rng.uniform(x0 + margin, x1 - margin)), float(rng.uniform(z0 + margin, z1 - margin))


def _dry(land: Land, x: float, z: float, margin: float) -> bool:
    return land.river is None or bool(land.river.distance(x, z) > margin)


def _free(land: Land, x: float, z: float, margin: float) -> bool:
    """Whether a spot is dry and outside all houses and ponds."""
    taken: list[House | Patch] = [*land.houses, *(patch for patch in land.patches if patch.kind == 'pond')]
    return _dry(land, x, z, margin) and not any(
        abs(x - other.x) < other.half_x + margin and abs(z - other.z) < other.half_z + margin for other in taken)


def _add_trees(land: Land, block: Block, number: int, radius: tuple[float, float], rng: np.random.Generator) -> None:
    for _ in range(number):
        x, z = _spot(block, 2.0, rng)
        if _free(land, x, z, 1.5):
            land.trees.append(Tree(x, z, float(rng.uniform(*radius)), float(rng.random())))


def _fill_homes(land: Land, block: Block, layout: AerialLayout, rng: np.random.Generator) -> None:
    """Houses in two rows, each with a drive to the road, some with a car, a pool or a bed of soil."""
    x0, x1, z0, z1 = block.limits
    count = max(1, int((x1 - x0) / rng.uniform(15, 20)))
    step = (x1 - x0) / count
    for index in range(count):
        for edge, inward in ((z0, 1), (z1, -1)):
            if z1 - z0 < 30 and inward < 0:
                continue
            half_x, half_z = float(rng.uniform(3.6, min(6.2, step / 2 - 1.5))), float(rng.uniform(3.4, 5.0))
            x, z = x0 + (index + 0.5) * step + float(rng.uniform(-1, 1)), edge + inward * float(rng.uniform(8.0, 11.0))
            if not _dry(land, x, z, 8.0):
                continue
            land.houses.append(House(x, z, half_x, half_z, float(rng.normal(0, 0.04)), float(rng.uniform(3.5, 7.0)),
                                     bool(rng.random() < 0.78), float(rng.random())))
            _add_garden(land, (x, z, half_x, half_z), edge, inward, rng)
    _add_trees(land, block, int(rng.poisson(1.6 * count * layout.trees)), (1.4, 3.6), rng)


def _add_garden(land: Land, house: tuple[float, float, float, float], edge: float, inward: int,
                rng: np.random.Generator) -> None:
    x, z, half_x, half_z = house
    drive = x + float(rng.choice([-1, 1])) * (half_x - 1.2)
    land.patches.append(Patch('paving', drive, (edge + z) / 2, 1.6, abs(z - edge) / 2))
    if rng.random() < 0.5:
        land.cars.append(Car(drive, edge + inward * 2.9, float(rng.normal(0, 0.05)), float(rng.random())))
    back = z + inward * (half_z + float(rng.uniform(3.0, 5.0)))
    kind = rng.random()
    if kind < 0.2:
        land.clutter.append(Clutter(x, back, float(rng.uniform(1.5, 2.6)), float(rng.uniform(1.2, 2.0)), 0.05,
                                    float(rng.random())))
    elif kind < 0.45:
        land.patches.append(Patch('soil', x, back, float(rng.uniform(1.6, 3.2)), float(rng.uniform(1.0, 2.0))))


def _fill_halls(land: Land, block: Block, layout: AerialLayout, rng: np.random.Generator) -> None:
    """One large hall, rows of parked cars, some containers."""
    x0, x1, z0, z1 = block.limits
    deep = float(rng.uniform(0.22, 0.3)) * (z1 - z0)
    house = House((x0 + x1) / 2, z0 + 3 + deep, float(rng.uniform(0.3, 0.45)) * (x1 - x0), deep, 0.0,
                  float(rng.uniform(6.0, 11.0)), False, float(rng.random()))
    if _dry(land, house.x, house.z, max(house.half_x, house.half_z) * 0.8):
        land.houses.append(house)
    for z in np.arange(z0 + 2 * deep + 9, z1 - 3, 6.5):
        for x in np.arange(x0 + 3, x1 - 3, 2.8):
            if rng.random() < 0.5 and _dry(land, x, z, 4.0):
                land.cars.append(Car(float(x), float(z), float(rng.choice([0.0, math.pi])), float(rng.random())))
    for _ in range(int(rng.integers(0, 3))):
        x, z = _spot(block, 4.0, rng)
        if _free(land, x, z, 4.0):
            land.clutter.append(Clutter(x, z, 3.0, 1.25, 2.6, float(rng.random())))


def _fill_field(land: Land, block: Block, layout: AerialLayout, rng: np.random.Generator) -> None:
    _add_trees(land, block, int(rng.poisson(1.0)), (1.6, 3.6), rng)


def _fill_wood(land: Land, block: Block, layout: AerialLayout, rng: np.random.Generator) -> None:
    """Trees on a loose grid with gaps."""
    x0, x1, z0, z1 = block.limits
    for x in np.arange(x0 + 2, x1 - 2, 4.6):
        for z in np.arange(z0 + 2, z1 - 2, 4.6):
            place = (float(x + rng.uniform(-1.6, 1.6)), float(z + rng.uniform(-1.6, 1.6)))
            if rng.random() < 0.82 and _dry(land, *place, 1.5):
                land.trees.append(Tree(*place, float(rng.uniform(2.0, 4.0)), float(rng.random())))


def _fill_site(land: Land, block: Block, layout: AerialLayout, rng: np.random.Generator) -> None:
    """Bare soil with a shell of a house, machines and containers."""
    for _ in range(int(rng.integers(0, 3))):
        x, z = _spot(block, 7.0, rng)
        if _free(land, x, z, 9.0):
            land.houses.append(House(x, z, float(rng.uniform(4, 7)), float(rng.uniform(4, 6)), float(rng.normal(0, 0.2)),
                                     float(rng.uniform(3, 6)), False, float(rng.random())))
    for _ in range(int(rng.poisson(2.0))):
        x, z = _spot(block, 3.0, rng)
        if _free(land, x, z, 3.5):
            land.cars.append(Car(x, z, float(rng.uniform(-3, 3)), float(rng.random())))
    x, z = _spot(block, 4.0, rng)
    if _free(land, x, z, 4.0):
        land.clutter.append(Clutter(x, z, 3.0, 1.25, 2.6, float(rng.random())))
    _add_trees(land, block, int(rng.poisson(0.7)), (1.4, 3.0), rng)


def _fill_park(land: Land, block: Block, layout: AerialLayout, rng: np.random.Generator) -> None:
    """A pond, paths and groups of trees."""
    x0, x1, z0, z1 = block.limits
    half_x, half_z = float(rng.uniform(0.2, 0.36)) * (x1 - x0), float(rng.uniform(0.2, 0.36)) * (z1 - z0)
    x, z = float(rng.uniform(x0 + half_x, x1 - half_x)), float(rng.uniform(z0 + half_z, z1 - half_z))
    land.patches.append(Patch('pond', x, z, half_x, half_z))
    if rng.random() < 0.6:
        side = x - half_x - 3 if x - x0 > x1 - x else x + half_x + 3
        land.patches.append(Patch(str(rng.choice(['paving', 'soil'])), side, (z0 + z1) / 2, 1.2, (z1 - z0) / 2))
    _add_trees(land, block, int(rng.poisson(10 * layout.trees)), (1.8, 4.2), rng)


_FILL = {'homes': _fill_homes, 'halls': _fill_halls, 'field': _fill_field, 'wood': _fill_wood, 'site': _fill_site,
         'park': _fill_park}


def _sample_traffic(land: Land, layout: AerialLayout, rng: np.random.Generator) -> None:
    """Cars in the lanes and at the kerbs of paved roads."""
    for ways, turn in ((land.columns, 0.0), (land.rows, math.pi / 2)):
        for way in (way for way in ways if way.paved):
            for along in np.arange(-EXTENT, EXTENT, 6.0):
                if rng.random() >= layout.cars * 0.06:
                    continue
                side = float(rng.choice([-1, 1])) * way.width * float(rng.choice([0.22, 0.36]))
                x, z = (way.place + side, float(along)) if turn == 0.0 else (float(along), way.place + side)
                yaw = turn + float(rng.normal(0, 0.02)) + (math.pi if side > 0 else 0.0)
                land.cars.append(Car(x, z, yaw, float(rng.random())))
