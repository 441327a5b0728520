"""Shadows on the ground: each caster's outline swept along the sun's rays, and the dark patch under vehicles."""
import cv2
import numpy as np

from .camera import Camera, clip_near
from .lighting import Lighting
from .scene import Barrier, Building, Cycle, Item, Person, Plant, Post, Scene, Vehicle
from .vehicles import footprint

_LONGEST = 14.0
_FARTHEST = 70.0
"""Shadows of things farther away than this are too thin to be seen."""


def ground_shadow(scene: Scene, camera: Camera, light: Lighting) -> np.ndarray:
    """Share of direct light that is blocked at each ground pixel.

    Returns:
        float32 [H, W] in [0, 1]; contact shadows count as more than the direct light that an overcast day has.
    """
    mask = np.zeros((camera.height, camera.width), np.uint8)
    for item in (item for item in scene.items if item.order < _FARTHEST):
        for outline, height in _casters(item):
            cast_shadow(mask, camera, light, outline, height)
    softness = light.look.shadow_softness * camera.width
    if softness > 0:
        mask = cv2.GaussianBlur(mask, (0, 0), softness)
    for item in scene.items:
        if isinstance(item, Vehicle):
            fill_ground(mask, camera, footprint(item, 0.12), 255)
    return mask.astype(np.float32) / 255


def cast_shadow(mask: np.ndarray, camera: Camera, light: Lighting, outline: np.ndarray, height: float) -> None:
    """Sweeps the ground outline (x, z) [N, 2] of a thing of a height in metres along the sun's rays, and fills it."""
    offset = -light.to_sun[[0, 2]] / max(float(light.to_sun[1]), 0.05) * height
    offset *= min(1.0, _LONGEST / max(float(np.hypot(*offset)), 1e-6))
    fill_ground(mask, camera, np.concatenate([outline, outline + offset]), 255)


def fill_ground(mask: np.ndarray, camera: Camera, ground: np.ndarray, value: int) -> None:
    """Fills the convex hull of ground points (x, z) [N, 2] in a uint8 image [H, W], in place."""
    hull = cv2.convexHull(ground.astype(np.float32))[:, 0]
    local = clip_near(camera.to_camera(np.stack([hull[:, 0], np.zeros(len(hull)), hull[:, 1]], axis=1)))
    if len(local) >= 3:
        pixels = np.clip(camera.to_pixels(local), -20000, 20000)
        cv2.fillConvexPoly(mask, np.rint(pixels * 16).astype(np.int32), value, shift=4)


def disc(x: float, z: float, radius: float) -> np.ndarray:
    """Corners (x, z) [10, 2] of a round outline on the ground."""
    angle = np.arange(10) * (2 * np.pi / 10)
    return np.stack([x + radius * np.cos(angle), z + radius * np.sin(angle)], axis=1)


def _casters(item: Item) -> list[tuple[np.ndarray, float]]:
    """Ground outlines [N, 2] and heights of what throws a shadow."""
    match item:
        case Vehicle():
            return [(footprint(item, 0.0), 1.4 if item.kind in ('sedan', 'hatch', 'van') else 3.0)]
        case Building() | Barrier():
            base = item.front if isinstance(item, Building) else item.base
            height = item.storeys * item.storey_height if isinstance(item, Building) else item.height
            return [(np.array(base), height)]
        case Plant():
            radius = item.height * (0.3 if item.kind in ('round', 'bush') else 0.16)
            return [(disc(item.x, item.z, radius), item.height * 0.7)]
        case Person():
            return [(disc(item.x, item.z, 0.22), item.height)]
        case Cycle():
            return [(disc(item.x, item.z, 0.5), 1.6 if item.ridden else 0.9)]
        case Post():
            return [(disc(item.x, item.z, 0.08), 3.0)]
    return []
