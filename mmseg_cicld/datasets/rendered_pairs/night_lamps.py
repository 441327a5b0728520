"""What lamps do to a street at night: they light what is near them, and they dazzle the camera."""
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from ..street_set.canvas import Canvas
from ..street_set.scene import Post, Scene, Vehicle
from ..street_set.vehicles import footprint

_WARM = np.array([120, 196, 255], np.float32)
_WHITE = np.array([232, 246, 255], np.float32)
_RED = np.array([50, 50, 255], np.float32)
_REACH = 70.0
_LAMP_HEIGHT = 6.8
_HIDDEN = 1.0
"""A lamp is hidden by what is this many metres nearer."""


@dataclass(frozen=True)
class _Lamp:
    """A light source: world place [3], BGR [3], radius in metres."""

    place: np.ndarray
    color: np.ndarray
    radius: float


def lamp_light(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Gain of brightness by the own head lamps and by street lamps.

    Args:
        canvas: The painted street; its depth says where each pixel is in the world.
        scene: The street.
        rng: Source of the strength of the lamps.

    Returns:
        BGR gains of at least 1, float32 [H, W, 3] at half the canvas's size.
    """
    depth = canvas.depth[::2, ::2]
    rays = canvas.camera.rays[::2, ::2]
    far = np.where(depth > 0, depth, 1e4)
    gain = np.float32(rng.uniform(0.8, 2.6)) * _beam(rays, far)[..., None] * _WHITE / 255
    world = np.array(canvas.camera.position, np.float32) + rays * far[..., None]
    strength = np.float32(rng.uniform(1.0, 2.4))
    for lamp in _street_lamps(scene):
        away = ((world - lamp.place.astype(np.float32)) ** 2).sum(axis=2)
        gain += strength / (1 + away[..., None] / 30) * _WARM / 255
    return 1 + gain


def _beam(rays: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Share of the own lamps' light at each pixel: ahead, below the cut-off, near; float32 [H, W]."""
    ahead = np.exp(-(rays[..., 0] / 0.42) ** 2)
    low = 1 / (1 + np.exp(np.clip((rays[..., 1] - 0.03) / 0.025, -30, 30)))
    return ahead * (0.15 + 0.85 * low) / (1 + (depth / 13) ** 2)


def add_glare(image: np.ndarray, canvas: Canvas, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Adds the discs and halos of all lamps that the camera sees.

    Args:
        image: float32 [H, W, 3] at half the canvas's size.
        canvas: The painted street.
        scene: The street.
        rng: Source of the strength of the halos.

    Returns:
        float32, shape of ``image``.
    """
    discs = np.zeros_like(image)
    for lamp in (*_street_lamps(scene), *_vehicle_lamps(scene, canvas)):
        _draw_disc(discs, canvas, lamp)
    width = image.shape[1]
    strength = np.float32(rng.uniform(0.5, 1.2))
    halo = 3.0 * cv2.GaussianBlur(discs, (0, 0), width / 60) + 6.0 * cv2.GaussianBlur(discs, (0, 0), width / 22)
    return np.maximum(image, discs) + strength * halo


def _draw_disc(discs: np.ndarray, canvas: Canvas, lamp: _Lamp) -> None:
    local = canvas.camera.to_camera(lamp.place[None])
    depth = float(local[0, 2])
    if not 1.0 < depth < _REACH:
        return
    column, row = canvas.camera.to_pixels(local)[0]
    if not (0 <= column < canvas.camera.width and 0 <= row < canvas.camera.height):
        return
    before = float(canvas.depth[int(row), int(column)])
    if 0 < before < depth - _HIDDEN:
        return
    radius = float(np.clip(lamp.radius * canvas.camera.focal / depth / 2, 0.6, 6.0))
    color = tuple(float(value) for value in lamp.color * min(1.0, 18 / depth + 0.25))
    cv2.circle(discs, (round(column * 8), round(row * 8)), round(radius * 16), color, cv2.FILLED, cv2.LINE_AA, shift=4)


def _street_lamps(scene: Scene) -> Iterator[_Lamp]:
    for item in scene.items:
        if isinstance(item, Post) and item.kind == 'lamp':
            height = _LAMP_HEIGHT + 1.8 * (item.unit * 3 % 1) - 0.8
            yield _Lamp(np.array([item.x + 1.85 * item.inward, height, item.z]), _WARM, 0.2)


def _vehicle_lamps(scene: Scene, canvas: Canvas) -> Iterator[_Lamp]:
    """Head lamps of vehicles that face the camera, tail lamps of the others; parked ones may have theirs off."""
    eye = np.array(canvas.camera.position)[[0, 2]]
    for item in scene.items:
        if not isinstance(item, Vehicle) or item.unit * 23 % 1 < 0.25:
            continue
        corners = footprint(item, 0.02)
        middle = corners.mean(axis=0)
        for ends, color, radius in ((corners[:2], _RED, 0.1), (corners[2:], _WHITE, 0.15)):
            face = ends.mean(axis=0)
            if (face - middle) @ (eye - face) <= 0:
                continue
            for corner in ends:
                x, z = face + 0.75 * (corner - face)
                yield _Lamp(np.array([x, 0.72, z]), color, radius)
