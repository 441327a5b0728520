"""Renders one scene: lay out, paint at twice the size, shrink, expose."""
import cv2
import numpy as np

from .buildings import draw_building, draw_fence, draw_wall
from .camera import Camera
from .canvas import Canvas
from .classes import TrainId
from .figures import draw_cycle, draw_person
from .furniture import draw_post
from .ground import draw_ground
from .layout import sample_scene
from .lighting import Lighting, sample_lighting
from .looks import LOOKS
from .plants import draw_backdrop, draw_hedge, draw_plant
from .scene import Backdrop, Barrier, Building, Cycle, Item, Person, Plant, Post, Scene, Vehicle
from .sensor import add_haze, expose
from .shadows import ground_shadow
from .sky import draw_sky
from .vehicles import draw_vehicle

OVERSAMPLING = 2
"""Scenes are painted this much larger than asked for, then shrunk."""

SMALLEST = 32
"""Smallest edge of an image in pixels."""


def render_scene(domain: str, seed: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Renders one street scene.

    Args:
        domain: 'source' or 'target'.
        seed: Non-negative integer; the same domain, seed and size give the same bytes.
        size: Width and height in pixels, at least 32 each.

    Returns:
        Image uint8 [height, width, 3] in BGR and label uint8 [height, width] of train ids 0..18 or 255.

    Raises:
        ValueError: If the domain is unknown or the size too small.
    """
    if domain not in LOOKS:
        raise ValueError(f'Unknown domain {domain!r} of the street set; it has {sorted(LOOKS)}.')
    look = LOOKS[domain]
    streams = np.random.SeedSequence([seed, sorted(LOOKS).index(domain)]).spawn(3)
    scene = sample_scene(look.layout, np.random.default_rng(streams[0]))
    light = sample_lighting(look, np.random.default_rng(streams[1]))
    return render(scene, light, size, np.random.default_rng(streams[2]))


def check_size(size: tuple[int, int]) -> None:
    """Refuses a size (width, height) that is too small to show a street.

    Raises:
        ValueError: If an edge is shorter than ``SMALLEST``.
    """
    if min(size) < SMALLEST:
        raise ValueError(f'Size (width, height) = {size} is too small for the street set; each must be >= {SMALLEST}.')


def render(scene: Scene, light: Lighting, size: tuple[int, int], rng: np.random.Generator
           ) -> tuple[np.ndarray, np.ndarray]:
    """Renders a given scene under given conditions.

    Args:
        scene: The street.
        light: Conditions of the image.
        size: Width and height in pixels.
        rng: Source of sensor noise.

    Returns:
        Image and label as :func:`render_scene` returns them. The label depends on ``scene`` and ``size`` only.
    """
    check_size(size)
    canvas, hazy = paint(scene, light, size)
    image = cv2.resize(hazy, size, interpolation=cv2.INTER_AREA)
    return expose(image, light, rng), shrink_label(canvas.label)


def paint(scene: Scene, light: Lighting, size: tuple[int, int]) -> tuple[Canvas, np.ndarray]:
    """Paints a scene before it is shrunk and exposed.

    Args:
        scene: The street.
        light: Conditions of the image.
        size: Width and height of the image in pixels.

    Returns:
        The canvas, ``OVERSAMPLING`` times as large, and its colour seen through the haze, BGR float32 [H, W, 3].
    """
    canvas = Canvas(_camera(scene, size))
    draw_sky(canvas, light)
    draw_ground(canvas, scene, light, ground_shadow(scene, canvas.camera, light))
    for item in sorted(scene.items, key=lambda item: -item.order):
        _draw(canvas, light, item)
    hazy = add_haze(canvas.color, canvas.depth, light)
    _draw_bonnet(canvas, hazy, light, scene.bonnet)
    return canvas, hazy


def _camera(scene: Scene, size: tuple[int, int]) -> Camera:
    width, height, view = size[0] * OVERSAMPLING, size[1] * OVERSAMPLING, scene.view
    return Camera(width, height, view.focal * width, (view.lateral, view.height, 0.0), view.pitch, view.yaw, view.roll)


def _draw(canvas: Canvas, light: Lighting, item: Item) -> None:
    match item:
        case Building():
            draw_building(canvas, light, item)
        case Barrier():
            {'wall': draw_wall, 'fence': draw_fence, 'hedge': draw_hedge}[item.kind](canvas, light, item)
        case Plant():
            draw_plant(canvas, light, item)
        case Vehicle():
            draw_vehicle(canvas, light, item)
        case Person():
            draw_person(canvas, light, item)
        case Cycle():
            draw_cycle(canvas, light, item)
        case Post():
            draw_post(canvas, light, item)
        case Backdrop():
            draw_backdrop(canvas, light, item)


def _draw_bonnet(canvas: Canvas, hazy: np.ndarray, light: Lighting, share: float) -> None:
    """Paints the own car's bonnet over the lowest rows; it is not hazy and not labelled."""
    if share <= 0:
        return
    height, width = canvas.label.shape
    mask = np.zeros((height, width), np.uint8)
    rise = share * height
    middle, axes = (width // 2, height + round(2.0 * rise)), (round(width * 0.62), round(3.0 * rise))
    cv2.ellipse(mask, middle, axes, 0, 0, 360, 255, cv2.FILLED)
    rows, inside = np.flatnonzero(mask.any(axis=1)), mask > 0
    fall = np.ones(height, np.float32)
    fall[rows] = np.linspace(1.5, 0.7, len(rows))
    paint = light.paint('bonnet', (light.seed % 991) / 991) * light.ambient
    shine = np.clip(paint + 0.18 * light.horizon * (fall[:, None, None] - 0.7), 0, 255)
    hazy[inside] = np.broadcast_to(shine, hazy.shape)[inside]
    canvas.label[inside] = TrainId.IGNORE


def shrink_label(label: np.ndarray) -> np.ndarray:
    """Takes the most frequent of each 2 x 2 block; in a tie the upper left pixel's class wins."""
    a, b, c, d = label[::2, ::2], label[::2, 1::2], label[1::2, ::2], label[1::2, 1::2]
    alone = (a != b) & (a != c) & (a != d)
    return np.where(alone & ((b == c) | (b == d)), b, np.where(alone & (c == d), c, a))
