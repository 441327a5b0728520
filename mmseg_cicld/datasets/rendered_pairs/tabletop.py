"""Things on a table, with eight classes that their shapes tell; the domains differ in what covers the shapes, and in size."""
from collections.abc import Mapping
from types import MappingProxyType

import cv2
import numpy as np

from ..street_set.camera import Camera
from ..street_set.canvas import Canvas
from ..street_set.lighting import Lighting, sample_lighting
from ..street_set.noise import noise_tile, sample_tile
from ..street_set.renderer import OVERSAMPLING, shrink_label
from ..street_set.sensor import expose
from .pair import Pair, streams
from .tabletop_looks import LOOKS
from .tabletop_patterns import pattern
from .tabletop_scene import Tabletop, TabletopId, Thing, sample_tabletop
from .tabletop_shapes import silhouette

_ROUND = {TabletopId.BOTTLE: 1.0, TabletopId.MUG: 1.0, TabletopId.BOWL: 0.8, TabletopId.BALL: 1.0, TabletopId.BOOK: 0.15,
          TabletopId.LAMP: 0.7}


def render_tabletop(domain: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Renders one table; see :class:`~.pair.Pair` for arguments and result."""
    look, size, (scene_rng, light_rng, sensor_rng, _) = LOOKS[domain], SIZES[domain], streams(domain, seed)
    scene = sample_tabletop(look.layout, size[0] / size[1], scene_rng)
    return render_scene(scene, sample_lighting(look, light_rng), size, sensor_rng)


def render_scene(scene: Tabletop, light: Lighting, size: tuple[int, int], rng: np.random.Generator
                 ) -> tuple[np.ndarray, np.ndarray]:
    """Renders a given table.

    Args:
        scene: What stands where.
        light: Conditions of the image; its look has the patterns.
        size: Width and height in pixels.
        rng: Source of sensor noise.

    Returns:
        Image uint8 [height, width, 3] in BGR and label uint8 [height, width]; the label depends on ``scene`` and
        ``size`` only.
    """
    canvas = Canvas(Camera(size[0] * OVERSAMPLING, size[1] * OVERSAMPLING, 1.0, (0.0, 0.0, 0.0)))
    _draw_room(canvas, scene, light)
    for napkin in scene.napkins:
        color = light.paint('napkin', napkin.unit) * light.ambient
        canvas.polygon(np.array(napkin.corners) * canvas.camera.height, 1.0, color, TabletopId.IGNORE)
    _draw_shadows(canvas, scene, light)
    for thing in scene.things:
        _draw_thing(canvas, thing, light)
    image = cv2.resize(canvas.color, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return expose(image, light, rng), shrink_label(canvas.label)


def _surface(light: Lighting, material: str, unit: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Unlit BGR of a covered surface, float32 [H, W, 3]; ``x`` and ``y`` are shares of the image height."""
    layout = light.look.layout
    twist = unit * 41 % 1
    family = layout.patterns[int(unit * 17 % 1 * len(layout.patterns))]
    period = np.float32(layout.period[0] + twist * (layout.period[1] - layout.period[0]))
    first, second = light.paint(material, unit), light.paint('thing', unit * 3.7 % 1)
    strength = layout.strength[0] + (unit * 29 % 1) * (layout.strength[1] - layout.strength[0])
    share = np.float32(strength) * pattern(family, x / period, y / period, unit)[..., None]
    grain = light.look.texture * 0.09 * sample_tile(noise_tile(0.5, 85), x * 260, y * 260 + np.float32(unit * 97))
    return (first + (second - first) * share) * (1 + grain[..., None])


def _draw_room(canvas: Canvas, scene: Tabletop, light: Lighting) -> None:
    """Covers the picture with the wall above and the table, whose pattern shrinks with distance, below."""
    height, width = canvas.label.shape
    row = (np.arange(height, dtype=np.float32) + 0.5) / height
    column = (np.arange(width, dtype=np.float32) + 0.5) / height
    edge = round(scene.edge * height)
    x, y = np.meshgrid(column, row[:edge])
    canvas.color[:edge] = np.clip(_surface(light, 'wall', scene.unit, x, y) * (light.ambient + 0.5 * light.sun), 0, 255)
    canvas.label[:edge] = TabletopId.WALL
    far = 1 / (0.45 + row[edge:] - scene.edge)
    x = (column[None] - width / height / 2) * far[:, None]
    y = np.repeat(far[:, None], width, axis=1)
    bright = light.ambient + light.sun * float(light.to_sun[1])
    canvas.color[edge:] = np.clip(_surface(light, 'table', scene.unit * 13 % 1, x, y) * bright, 0, 255)
    canvas.label[edge:] = TabletopId.TABLE


def _draw_shadows(canvas: Canvas, scene: Tabletop, light: Lighting) -> None:
    """Darkens the table beside the feet; labels stay."""
    scale, mask = canvas.camera.height, np.zeros(canvas.label.shape, np.uint8)
    for thing in scene.things:
        reach = 0.4 * thing.height * scale
        middle = (round(thing.x * scale - 0.6 * reach * float(light.to_sun[0])), round(thing.foot * scale - 0.06 * reach))
        cv2.ellipse(mask, middle, (max(2, round(reach)), max(2, round(0.22 * reach))), 0, 0, 360, 255, cv2.FILLED)
    mask[canvas.label == TabletopId.WALL] = 0
    mask = cv2.GaussianBlur(mask, (0, 0), light.look.shadow_softness * canvas.camera.width)
    canvas.color[:] = (canvas.color * (1 - 0.45 / 255 * mask[..., None].astype(np.float32))).astype(np.uint8)


def _draw_thing(canvas: Canvas, thing: Thing, light: Lighting) -> None:
    """Pastes a silhouette that is covered with a pattern and shaded as something round."""
    scale = canvas.camera.height
    mask, half = silhouette(thing, scale)
    height, width = mask.shape
    x, y = np.meshgrid((np.arange(width, dtype=np.float32) - half) / scale, np.arange(height, dtype=np.float32) / scale)
    inside = np.maximum(np.abs(np.where(mask, x, 0)).max(), 1e-3)
    place = np.clip(x / inside, -1, 1) * _ROUND[thing.kind]
    normal = np.sqrt(1 - 0.8 * place ** 2)
    facing = 0.55 * normal + 0.6 * place * np.float32(light.to_sun[0])
    gain = light.ambient + np.clip(facing, 0, None)[..., None] * light.sun
    color = np.clip(_surface(light, 'thing', thing.unit, x, y) * gain, 0, 255).astype(np.uint8)
    canvas.paste(thing.x * scale - half, thing.foot * scale - height, color, mask, 1.0, thing.kind)


SIZES: Mapping[str, tuple[int, int]] = MappingProxyType({'source': (256, 192), 'target': (320, 180)})
_CLASSES = tuple(name.name.lower() for name in TabletopId if name is not TabletopId.IGNORE)
_PALETTE = ((150, 150, 160), (140, 96, 60), (30, 150, 90), (220, 60, 60), (60, 120, 220), (240, 180, 40), (150, 70, 180),
            (250, 240, 130))
TEXTURE_PAIR = Pair('texture', _CLASSES, _PALETTE, LOOKS, SIZES, render_tabletop, revision=1)
