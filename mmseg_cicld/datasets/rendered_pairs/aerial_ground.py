"""The ground from above: what each spot is, and its colour."""
from enum import IntEnum

import numpy as np

from ..street_set.camera import Camera
from ..street_set.canvas import Canvas
from ..street_set.lighting import Lighting
from ..street_set.noise import TILE, noise_tile, sample_tile
from ..street_set.shadows import fill_ground
from .aerial_classes import AerialId
from .aerial_scene import Land, Patch, Way


class Zone(IntEnum):
    """What a spot of the ground is made of."""

    ASPHALT = 0
    PAVING = 1
    MARKING = 2
    LAWN = 3
    FIELD = 4
    SOIL = 5
    WATER = 6


_LABEL = np.array([AerialId.ROAD, AerialId.ROAD, AerialId.ROAD, AerialId.LOW_VEGETATION, AerialId.FIELD,
                   AerialId.BARE_SOIL, AerialId.WATER], np.uint8)
_OF_KIND = {'homes': Zone.LAWN, 'halls': Zone.ASPHALT, 'field': Zone.FIELD, 'wood': Zone.LAWN, 'site': Zone.SOIL,
            'park': Zone.LAWN}
_OF_PATCH = {'paving': Zone.PAVING, 'soil': Zone.SOIL, 'pond': Zone.WATER}
_STAINS = np.array([0.05, 0.04, 0.04, 0.1, 0.06, 0.13, 0.05], np.float32)
_FINE = np.array([0.05, 0.05, 0.05, 0.13, 0.08, 0.09, 0.03], np.float32)


def draw_land(canvas: Canvas, land: Land, light: Lighting, shadow: np.ndarray) -> None:
    """Paints the ground under everything.

    Args:
        canvas: Where to paint; its camera looks straight down.
        land: What lies where.
        light: Conditions of the image.
        shadow: Share of direct light that is blocked at each pixel, float32 [H, W].
    """
    x, z = _places(canvas.camera)
    wave = sample_tile(noise_tile(1.6, 61), x * 6 + light.seed % TILE, z * 6)
    block = _block_numbers(land, x + 0.7 * wave, z + 0.7 * wave)
    zones = _zones(canvas.camera, land, block, x, z, wave)
    base = _paints(light, land)[block, zones]
    bright = light.ambient + light.sun * max(0.0, float(light.to_sun[1])) * (1 - shadow[..., None])
    gain = _grain(light, zones, x, z) + _rows(land, zones, block, x, z)
    canvas.color[:] = np.clip(base * (bright * gain[..., None]), 0, 255).astype(np.uint8)
    canvas.label[:] = _LABEL[zones]
    canvas.depth[:] = canvas.camera.position[1]


def _places(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """World x and z of the ground at all pixels, float32 [H, W]."""
    rays, height = camera.rays, np.float32(camera.position[1])
    return (np.float32(camera.position[0]) + rays[..., 0] * height,
            np.float32(camera.position[2]) + rays[..., 2] * height)


def _block_numbers(land: Land, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Number of the block of each spot, counted along z first, int64 [H, W]."""
    column = np.searchsorted([way.place for way in land.columns[1:-1]], x)
    row = np.searchsorted([way.place for way in land.rows[1:-1]], z)
    return column * (len(land.rows) - 1) + row


def _zones(camera: Camera, land: Land, block: np.ndarray, x: np.ndarray, z: np.ndarray, wave: np.ndarray) -> np.ndarray:
    kinds = np.array([_OF_KIND[block.kind] for column in land.blocks for block in column], np.uint8)
    zones = kinds[block]
    for patch in land.patches:
        if patch.kind == 'pond':
            away = ((x - patch.x) / patch.half_x) ** 2 + ((z - patch.z) / patch.half_z) ** 2
            zones[away < 0.85 + 0.16 * wave] = Zone.WATER
        else:
            fill_ground(zones, camera, _corners(patch), _OF_PATCH[patch.kind])
    if land.river is not None:
        distance = land.river.distance(x, z) + 0.9 * wave
        zones[distance < 2.0] = Zone.LAWN
        zones[distance < 0.0] = Zone.WATER
    _pave(zones, land.columns, x, z)
    _pave(zones, land.rows, z, x)
    for ways, across in ((land.columns, x), (land.rows, z)):
        for way in (way for way in ways if way.paved):
            zones[np.abs(across - way.place) < way.width / 2] = Zone.ASPHALT
    return zones


def _pave(zones: np.ndarray, ways: tuple[Way, ...], across: np.ndarray, along: np.ndarray) -> None:
    """Lays sidewalks, tracks, and roads with a dashed middle line, in place."""
    dashed = (along / 7) % 1 < 0.5
    for way in ways:
        away = np.abs(across - way.place)
        if not way.paved:
            zones[away < way.width / 2] = Zone.SOIL
            continue
        zones[away < way.width / 2 + way.sidewalk] = Zone.PAVING
        zones[away < way.width / 2] = Zone.ASPHALT
        zones[dashed & (away < 0.22)] = Zone.MARKING


def _corners(patch: Patch) -> np.ndarray:
    x = patch.x + patch.half_x * np.array([-1, 1, 1, -1])
    return np.stack([x, patch.z + patch.half_z * np.array([-1, -1, 1, 1])], axis=1)


def _paints(light: Lighting, land: Land) -> np.ndarray:
    """BGR of each zone in each block, float32 [blocks, zones, 3]."""
    common = (light.seed % 997) / 997
    own = (Zone.LAWN, Zone.FIELD, Zone.SOIL)
    return np.stack([
        np.stack([light.paint(zone.name.lower(), (block.unit * 7.3 if zone in own else common + 0.31 * zone) % 1)
                  for zone in Zone])
        for column in land.blocks for block in column])


def _grain(light: Lighting, zones: np.ndarray, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Brightness gain by texture: stains and fine grain."""
    stains = sample_tile(noise_tile(1.3, 62), x * 4 + light.seed % 251, z * 4)
    fine = sample_tile(noise_tile(0.5, 63), x * 3.1, z * 3.1 + light.seed % 241)
    return 1 + light.look.texture * (_STAINS[zones] * stains + _FINE[zones] * fine)


def _rows(land: Land, zones: np.ndarray, block: np.ndarray, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Brightness gain by rows of crops, 0 outside fields."""
    blocks = [block for column in land.blocks for block in column]
    turn = np.array([block.rows for block in blocks], np.float32)
    pitch = np.array([2.2 + 1.6 * (block.unit * 11 % 1) for block in blocks], np.float32)
    deep = np.array([0.07 + 0.1 * (block.unit * 5 % 1) for block in blocks], np.float32)
    across = (x * np.cos(turn)[block] + z * np.sin(turn)[block]) / pitch[block]
    return np.where(zones == Zone.FIELD, deep[block] * np.sin(2 * np.pi * across), 0).astype(np.float32)
