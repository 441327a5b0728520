"""The ground: every pixel below the horizon is traced back to its spot on the plane and painted by what lies there."""
from enum import IntEnum

import cv2
import numpy as np

from .canvas import Canvas
from .classes import TrainId
from .lighting import Lighting
from .noise import noise_tile, sample_tile
from .scene import Road, Scene, Side

_VIEW = 400.0


class Zone(IntEnum):
    """What a spot of the ground is made of."""

    ASPHALT = 0
    MARKING = 1
    YELLOW = 2
    RAIL = 3
    KERB = 4
    PAVEMENT = 5
    GRASS = 6
    PARKING = 7


_MATERIAL = {
    Zone.ASPHALT: 'asphalt', Zone.MARKING: 'marking', Zone.YELLOW: 'yellow', Zone.RAIL: 'rail', Zone.KERB: 'kerb',
    Zone.PAVEMENT: 'pavement', Zone.GRASS: 'grass', Zone.PARKING: 'asphalt'}
_LABEL = np.array([
    TrainId.ROAD, TrainId.ROAD, TrainId.ROAD, TrainId.ROAD, TrainId.SIDEWALK, TrainId.SIDEWALK, TrainId.TERRAIN,
    TrainId.ROAD], np.uint8)


def draw_ground(canvas: Canvas, scene: Scene, light: Lighting, shadow: np.ndarray) -> None:
    """Paints road, sidewalks and terrain.

    Args:
        canvas: Where to paint.
        scene: The street.
        light: Conditions of the image.
        shadow: Share of direct light that is blocked at each pixel, float32 [H, W].
    """
    camera = canvas.camera
    rays = camera.rays
    falling = rays[..., 1] < -1e-4
    rows = np.flatnonzero(falling.any(axis=1))
    if len(rows) == 0:
        return
    part = np.s_[rows[0]:rows[-1] + 1]
    hit = falling[part]
    depth = np.float32(camera.position[1]) / np.maximum(-rays[part][..., 1], 1e-4)
    hit &= depth < _VIEW
    depth = np.minimum(depth, _VIEW)
    x = np.float32(camera.position[0]) + rays[part][..., 0] * depth
    z = np.float32(camera.position[2]) + rays[part][..., 2] * depth
    zones = _zones(scene, x, z)
    color = _surface(light, zones, x, z, depth, shadow[part])
    cv2.copyTo(color, hit.astype(np.uint8), canvas.color[part])
    np.copyto(canvas.label[part], _LABEL[zones], where=hit)
    np.copyto(canvas.depth[part], depth, where=hit)


def _phase(values: np.ndarray, period: float) -> np.ndarray:
    """Position within a period, in [0, period)."""
    turns = values * np.float32(1 / period)
    return (turns - np.floor(turns)) * np.float32(period)


def _zones(scene: Scene, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Zone numbers of ground points, uint8 of the shape of ``x``."""
    road = scene.road
    lateral = x - road.centre(np.clip(z, -50, 250))
    zones = np.where(lateral < 0, _side_zones(scene.sides[0], road, -lateral, z),
                     _side_zones(scene.sides[1], road, lateral, z))
    inside = np.abs(lateral) < road.half_width
    zones[inside] = Zone.ASPHALT
    if road.parking:
        zones[inside & (np.abs(lateral) > road.half_width - road.parking)] = Zone.PARKING
    if road.crossing:
        open_to_side = (z > road.crossing[0]) & (z < road.crossing[1])
        zones[open_to_side] = Zone.ASPHALT
        zones[~inside & (np.abs(z - road.crossing[0] + 0.1) < 0.12)] = Zone.KERB
    _mark(zones, road, lateral, z)
    return zones


def _side_zones(side: Side, road: Road, outward: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Zone numbers beside the road; ``outward`` is the distance from the centre line to that side."""
    by_metre = np.full(512, Zone.GRASS, np.uint8)
    for begin, end, kind in side.lots:
        if kind in ('building', 'gap'):
            by_metre[int(begin) + 50:int(end) + 50] = Zone.PAVEMENT
    zones = by_metre[np.clip(z + 50, 0, 511).astype(np.int32)]
    edge = road.half_width + side.verge
    zones[outward < edge + side.sidewalk] = Zone.PAVEMENT
    if side.verge:
        zones[outward < edge] = Zone.GRASS
    zones[outward < road.half_width + 0.22] = Zone.KERB
    return zones


def _mark(zones: np.ndarray, road: Road, lateral: np.ndarray, z: np.ndarray) -> None:
    """Paints lane markings, the zebra crossing and tram rails into the zones of the asphalt, in place."""
    drive = road.half_width - road.parking
    away = np.abs(lateral)
    free = zones == Zone.ASPHALT
    if road.crossing:
        free &= (z < road.crossing[0] - 0.8) | (z > road.crossing[1] + 0.8)
    dashed = free & (_phase(z, 6.0) < 3.2)
    for lane in range(1, road.lanes):
        zones[dashed & (np.abs(away - lane * road.lane_width) < 0.09)] = Zone.MARKING
    if road.lanes > 1:
        zones[free & (np.abs(away - 0.16) < 0.08)] = Zone.YELLOW
    else:
        zones[dashed & (away < 0.09)] = Zone.MARKING
    zones[free & (np.abs(away - drive + 0.25) < 0.08)] = Zone.MARKING
    if road.parking:
        zones[(zones == Zone.PARKING) & (_phase(z, 5.6) < 0.14)] = Zone.MARKING
    if road.rails is not None:
        zones[(away < drive) & (np.abs(np.abs(lateral - road.rails) - 0.72) < 0.07)] = Zone.RAIL
    if road.crosswalk is not None:
        band = (z > road.crosswalk) & (z < road.crosswalk + 3.4) & (away < road.half_width - 0.2)
        zones[band & (_phase(lateral, 1.1) < 0.55)] = Zone.MARKING
        stop = (np.abs(z - road.crosswalk + 1.2) < 0.2) & (lateral > 0.2) & (lateral < drive)
        zones[stop] = Zone.MARKING


def _surface(light: Lighting, zones: np.ndarray, x: np.ndarray, z: np.ndarray, depth: np.ndarray,
             shadow: np.ndarray) -> np.ndarray:
    """Lit colour of ground points, uint8 [..., 3]."""
    unit = (light.seed % 997) / 997
    base = np.stack([light.paint(_MATERIAL[zone], (unit + 0.31 * (zone != Zone.PARKING)) % 1) for zone in Zone])
    gain = _grain(light, zones, x, z, depth)
    facing = max(0.0, float(light.to_sun[1]))
    bright = light.ambient + light.sun * facing * (1 - shadow[..., None])
    return np.clip(base[zones] * (bright * gain[..., None]), 0, 255).astype(np.uint8)


def _grain(light: Lighting, zones: np.ndarray, x: np.ndarray, z: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Brightness gain by texture: stains, fine grain that fades with distance, and joints of the pavement."""
    strength = light.look.texture
    near = 1 / (1 + depth / 9)
    stains = sample_tile(noise_tile(1.5, 21), x * 5 + light.seed % 251, z * 2.5)
    fine = sample_tile(noise_tile(0.4, 22), x * 14, z * 14)
    grass = zones == Zone.GRASS
    gain = 1 + strength * (0.045 + 0.06 * grass) * stains + strength * (0.07 + 0.1 * grass) * fine * near
    joint = (_phase(x, 0.9) < 0.07) | (_phase(z, 0.9) < 0.07)
    return gain - 0.16 * near * (joint & (zones == Zone.PAVEMENT))
