"""Trees, bushes, hedges and the far backdrop."""
from functools import cache

import cv2
import numpy as np

from .canvas import Canvas
from .classes import TrainId
from .lighting import Lighting
from .noise import TILE, noise_tile
from .scene import Backdrop, Barrier, Plant

_SPRITE = 112
_VARIANTS = 6
_ENVELOPE = {'round': (0.42, 0.40), 'tall': (0.26, 0.46), 'conifer': (0.36, 0.46), 'bush': (0.46, 0.34)}
_ASPECT = {'round': 0.95, 'tall': 0.42, 'conifer': 0.5, 'bush': 1.35}


@cache
def _leaf_sprite(kind: str, variant: int) -> tuple[np.ndarray, np.ndarray]:
    """Shading float32 and coverage float32 of a crown made of lumps, both [_SPRITE, _SPRITE]; shape only, no colour."""
    rng = np.random.default_rng([variant, len(kind), ord(kind[0])])
    grid = (np.arange(_SPRITE, dtype=np.float32) + 0.5) / _SPRITE - 0.5
    x, y = np.meshgrid(grid, -grid)
    lift = np.full((_SPRITE, _SPRITE), -1.0, np.float32)
    light = np.zeros_like(lift)
    reach_x, reach_y = _ENVELOPE[kind]
    for _ in range(46):
        angle, radius = rng.uniform(0, 2 * np.pi), 0.8 * np.sqrt(rng.random())
        cy = radius * np.sin(angle) * reach_y
        taper = 0.95 - 1.5 * (cy / (2 * reach_y) + 0.15) if kind == 'conifer' else 1.0
        cx, size = radius * np.cos(angle) * reach_x * max(taper, 0.06), rng.uniform(0.07, 0.15) * min(1, taper + 0.45)
        bulge = size ** 2 - (x - cx) ** 2 - (y - cy) ** 2
        height = np.sqrt(np.maximum(bulge, 0)) + 0.25 * rng.random()
        front = (bulge > 0) & (height > lift)
        lift[front] = height[front]
        light[front] = (0.62 + 0.33 * (y - cy) / size + 0.12 * (x - cx) / size + 0.5 * cy)[front]
    leaves = noise_tile(0.5, 31 + variant)[:_SPRITE, :_SPRITE]
    ragged = cv2.GaussianBlur((lift > -1).astype(np.float32), (0, 0), 1.6) + 0.12 * leaves
    return np.clip(light, 0.2, 1.2), ragged


def draw_plant(canvas: Canvas, light: Lighting, plant: Plant) -> None:
    """Draws a trunk and a crown that faces the camera."""
    camera = canvas.camera
    foot, top = np.array([plant.x, 0, plant.z]), np.array([plant.x, plant.height, plant.z])
    if camera.to_camera(foot[None])[0, 2] < 2.5:
        return
    pixels, depths = camera.project(np.stack([foot, top]))
    scale, depth = camera.focal / depths[0], float(depths[0])
    bare = 0.0 if plant.kind == 'bush' else (0.08 if plant.kind == 'conifer' else 0.28)
    if bare:
        bark = light.paint('bark', plant.unit) * light.ambient
        joint = pixels[0] + (pixels[1] - pixels[0]) * (bare + 0.15)
        canvas.stroke(np.stack([pixels[0], joint]), 0.035 * plant.height * scale, depth, bark, TrainId.VEGETATION)
    crown = (pixels[0, 1] - pixels[1, 1]) * (1 - bare)
    width = crown * _ASPECT[plant.kind] * (0.85 + 0.3 * (plant.unit * 17 % 1))
    size = (max(2, round(width)), max(2, round(crown)))
    left = float(pixels[1, 0]) - size[0] / 2
    if left < camera.width and left + size[0] > 0:
        _paste_crown(canvas, light, plant, (left, float(pixels[1, 1])), size, depth)


def _paste_crown(canvas: Canvas, light: Lighting, plant: Plant, corner: tuple[float, float], size: tuple[int, int],
                 depth: float) -> None:
    shade, cover = _leaf_sprite(plant.kind, int(plant.unit * _VARIANTS))
    if plant.unit * 29 % 1 < 0.5:
        shade, cover = shade[:, ::-1], cover[:, ::-1]
    shade = cv2.resize(shade, size, interpolation=cv2.INTER_LINEAR)
    mask = cv2.resize(cover, size, interpolation=cv2.INTER_LINEAR) > 0.42
    leaves = cv2.resize(noise_tile(0.5, 40)[:_SPRITE, :_SPRITE], size, interpolation=cv2.INTER_LINEAR)
    gain = shade * (1 + 0.16 * light.look.texture * leaves) * (light.ambient + 0.7 * float(light.sun.mean()))
    color = np.clip(light.paint('leaf', plant.unit) * gain[..., None], 0, 255).astype(np.uint8)
    canvas.paste(*corner, color, mask, depth, TrainId.VEGETATION)


def leaf_texture(light: Lighting, unit: float, height: int, width: int) -> np.ndarray:
    """A patch of foliage, darker at the bottom, uint8 [height, width, 3]."""
    offset = int(unit * 100)
    noise = noise_tile(0.7, 41)[offset:offset + min(height, TILE - 100)]
    noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    fall = np.linspace(1.05, 0.6, height, dtype=np.float32)[:, None]
    gain = fall * (1 + (0.08 + 0.14 * light.look.texture) * noise) * (light.ambient + 0.4 * float(light.sun.mean()))
    return np.clip(light.paint('leaf', unit) * gain[..., None], 0, 255).astype(np.uint8)


def draw_hedge(canvas: Canvas, light: Lighting, hedge: Barrier) -> None:
    """Draws a hedge as an upright panel of leaves."""
    canvas.panel(np.array(hedge.base), 0.0, hedge.height, leaf_texture(light, hedge.unit, 24, 96), TrainId.VEGETATION)


def draw_backdrop(canvas: Canvas, light: Lighting, far: Backdrop) -> None:
    """Draws a hill of trees or a far house."""
    base = np.array([[far.left, far.z], [far.right, far.z]])
    if far.kind == 'houses':
        wall = np.full((8, 8, 3), np.clip(light.paint('facade', far.unit) * light.ambient, 0, 255), np.uint8)
        wall[2:7:2, 1::2] = (0.7 * wall[0, 0]).astype(np.uint8)
        canvas.panel(base, 0.0, far.height * 0.8, np.tile(wall, (2, 4, 1)), TrainId.BUILDING)
        return
    bumps = np.linspace(0, np.pi, 13)
    jag = noise_tile(0.8, 42)[int(far.unit * 200), :13]
    height = far.height * (0.45 + 0.4 * np.sin(bumps) + 0.07 * jag)
    x = np.linspace(far.left - 8, far.right + 8, 13)
    ridge = np.stack([x, height, np.full(13, far.z)], axis=1)
    ground = np.array([[x[-1], 0, far.z], [x[0], 0, far.z]])
    canvas.world_polygon(np.concatenate([ridge, ground]), light.paint('leaf', far.unit) * light.ambient * 0.9,
                         TrainId.VEGETATION)
