"""What stands on the ground, from above: houses, trees, cars, clutter."""
from functools import cache

import cv2
import numpy as np

from ..street_set.canvas import Canvas
from ..street_set.lighting import Lighting
from ..street_set.noise import noise_tile
from .aerial_classes import AerialId
from .aerial_scene import Car, Clutter, House, Tree

_SPRITE = 64
_VARIANTS = 8
_UP = np.array([0.0, 1.0, 0.0])


def footprint(x: float, z: float, half_x: float, half_z: float, yaw: float) -> np.ndarray:
    """Corners (x, z) [4, 2] of a turned rectangle."""
    sin, cos = np.sin(yaw), np.cos(yaw)
    local = np.array([[-half_x, -half_z], [half_x, -half_z], [half_x, half_z], [-half_x, half_z]])
    return local @ np.array([[cos, -sin], [sin, cos]]) + (x, z)


def _at(ground: np.ndarray, height: float) -> np.ndarray:
    return np.insert(ground, 1, height, axis=1)


def _walls(canvas: Canvas, light: Lighting, base: np.ndarray, height: float, color: np.ndarray, label: int) -> None:
    """Draws upright sides; the roof that follows hides those that look away from the camera."""
    for a, b in zip(base, np.roll(base, -1, axis=0)):
        along = b - a
        normal = np.array([along[1], 0.0, -along[0]]) / np.hypot(*along)
        side = np.stack([a, b])
        canvas.world_polygon(np.concatenate([_at(side, 0.0), _at(side[::-1], height)]), light.shade(color, normal), label)


def draw_house(canvas: Canvas, light: Lighting, house: House) -> None:
    """Draws walls and a roof, flat with a rim or pitched along the longer side."""
    base = footprint(house.x, house.z, house.half_x, house.half_z, house.yaw)
    _walls(canvas, light, base, house.height, light.paint('house_wall', house.unit), AerialId.BUILDING)
    if not house.pitched:
        color = light.paint('flat_roof', house.unit)
        canvas.world_polygon(_at(base, house.height), light.shade(color * 0.8, _UP), AerialId.BUILDING)
        inner = footprint(house.x, house.z, house.half_x - 0.5, house.half_z - 0.5, house.yaw)
        canvas.world_polygon(_at(inner, house.height), light.shade(color, _UP), AerialId.BUILDING)
        _draw_vents(canvas, light, house)
        return
    if house.half_x < house.half_z:
        base = np.roll(base, -1, axis=0)
    _draw_slopes(canvas, light, house, base)


def _draw_slopes(canvas: Canvas, light: Lighting, house: House, base: np.ndarray) -> None:
    """Draws a pitched roof on corners whose first edge is a long one."""
    rise = 0.55 * min(house.half_x, house.half_z)
    eaves = _at(base, house.height)
    ridge = np.stack([(eaves[0] + eaves[3]) / 2, (eaves[1] + eaves[2]) / 2]) + (0.0, rise, 0.0)
    paint = light.paint('roof', house.unit)
    for first, second, top in ((0, 1, ridge[::-1]), (2, 3, ridge)):
        edge = eaves[[first, second]]
        slope = np.concatenate([edge, top])
        normal = np.cross(slope[1] - slope[0], slope[2] - slope[0])
        normal = normal / np.linalg.norm(normal) * np.sign(normal[1])
        canvas.world_polygon(slope, light.shade(paint, normal), AerialId.BUILDING)
        if first == 0 and house.unit * 17 % 1 < 0.3:
            middle = slope.mean(axis=0)
            panel = light.shade(light.paint('panel', house.unit), normal)
            canvas.world_polygon(middle + 0.55 * (slope - middle), panel, AerialId.BUILDING)


def _draw_vents(canvas: Canvas, light: Lighting, house: House) -> None:
    for index in range(int(house.unit * 41 % 1 * 4)):
        place = (house.unit * (7 + 3 * index) % 1 - 0.5, house.unit * (13 + 5 * index) % 1 - 0.5)
        vent = footprint(house.x + 1.3 * place[0] * house.half_x, house.z + 1.3 * place[1] * house.half_z, 1.0, 0.8,
                         house.yaw)
        canvas.world_polygon(_at(vent, house.height), light.shade(light.paint('window', 0.5) + 60, _UP), AerialId.BUILDING)


def draw_car(canvas: Canvas, light: Lighting, car: Car) -> None:
    """Draws a body with dark windows around a roof."""
    paint = light.shade(light.paint('car', car.unit), _UP)
    glass = light.shade(light.paint('window', car.unit), _UP)
    long = 2.15 + 0.25 * (car.unit * 7 % 1)
    canvas.world_polygon(_at(footprint(car.x, car.z, 0.92, long, car.yaw), 0.8), paint, AerialId.CAR)
    canvas.world_polygon(_at(footprint(car.x, car.z, 0.76, 0.62 * long, car.yaw), 1.1), glass, AerialId.CAR)
    canvas.world_polygon(_at(footprint(car.x, car.z, 0.72, 0.36 * long, car.yaw), 1.4), paint, AerialId.CAR)


def draw_clutter(canvas: Canvas, light: Lighting, thing: Clutter) -> None:
    """Draws a pool or a container; it has no class."""
    base = footprint(thing.x, thing.z, thing.half_x, thing.half_z, 0.0)
    paint = light.paint('clutter', thing.unit)
    _walls(canvas, light, base, thing.height, paint, AerialId.IGNORE)
    canvas.world_polygon(_at(base, thing.height), light.shade(paint, _UP), AerialId.IGNORE)


@cache
def _crown(variant: int) -> tuple[np.ndarray, np.ndarray]:
    """Slopes float32 [2, _SPRITE, _SPRITE] (to the right and up) and coverage bool of a crown made of lumps."""
    rng = np.random.default_rng([variant, 71])
    grid = (np.arange(_SPRITE, dtype=np.float32) + 0.5) / _SPRITE * 2 - 1
    x, y = np.meshgrid(grid, -grid)
    angle, radius, size = rng.uniform(0, 2 * np.pi, 26), 0.72 * np.sqrt(rng.random(26)), rng.uniform(0.2, 0.36, 26)
    away = np.stack([x[None] - (radius * np.cos(angle))[:, None, None], y[None] - (radius * np.sin(angle))[:, None, None]])
    bulge = (size ** 2)[:, None, None] - (away ** 2).sum(axis=0)
    lift = np.sqrt(np.maximum(bulge, 0)) + np.where(bulge > 0, (0.7 * (1 - radius) + 0.1)[:, None, None], -9)
    front = lift.argmax(axis=0)
    slope = np.take_along_axis(away, front[None, None], axis=1)[:, 0] / size[front]
    return (0.7 * slope + 0.3 * np.stack([x, y])).astype(np.float32), lift.max(axis=0) > -1


def draw_tree(canvas: Canvas, light: Lighting, tree: Tree) -> None:
    """Pastes a crown, bright on the side of the sun."""
    camera = canvas.camera
    pixels, depth = camera.project(np.array([[tree.x, 2.2 * tree.radius, tree.z]]))
    edge = max(3, round(2 * tree.radius * camera.focal / depth[0]))
    left, top = pixels[0] - edge / 2
    if not (-edge < left < camera.width and -edge < top < camera.height):
        return
    slope, cover = _crown(int(tree.unit * _VARIANTS))
    to_sun = camera.rotation[:2] @ light.to_sun
    shade = 0.86 + 0.42 * (slope[0] * np.float32(to_sun[0]) + slope[1] * np.float32(to_sun[1]))
    shade += 0.16 * light.look.texture * noise_tile(0.3, 72)[:_SPRITE, :_SPRITE]
    shade = cv2.resize(shade, (edge, edge), interpolation=cv2.INTER_AREA)
    mask = cv2.resize(cover.astype(np.float32), (edge, edge), interpolation=cv2.INTER_AREA) > 0.5
    gain = np.clip(shade, 0.3, 1.5) * (light.ambient + 0.75 * float(light.sun.mean()))
    color = np.clip(light.paint('leaf', tree.unit * 7.7 % 1) * gain[..., None], 0, 255).astype(np.uint8)
    canvas.paste(left, top, color, mask, float(depth[0]), AerialId.TREE)
