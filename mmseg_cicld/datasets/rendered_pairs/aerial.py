"""Land from above in summer and in late autumn, with eight classes; the target is seen from farther away."""
from collections.abc import Mapping
from types import MappingProxyType

import cv2
import numpy as np

from ..street_set.camera import Camera
from ..street_set.canvas import Canvas
from ..street_set.lighting import Lighting, sample_lighting
from ..street_set.renderer import OVERSAMPLING, shrink_label
from ..street_set.sensor import add_haze, expose
from ..street_set.shadows import cast_shadow, disc
from .aerial_classes import AerialId
from .aerial_ground import draw_land
from .aerial_layout import sample_land
from .aerial_looks import LOOKS
from .aerial_scene import Land
from .aerial_things import draw_car, draw_clutter, draw_house, draw_tree, footprint
from .pair import Pair, streams

_HEIGHT = 420.0
_OFF_MIDDLE = 18.0


def render_aerial(domain: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Renders one piece of land; see :class:`~.pair.Pair` for arguments and result."""
    look, size, (land_rng, light_rng, sensor_rng, view_rng) = LOOKS[domain], SIZES[domain], streams(domain, seed)
    land = sample_land(look.layout, land_rng)
    ground_sample = float(view_rng.uniform(*look.layout.ground_sample))
    place = view_rng.uniform(-_OFF_MIDDLE, _OFF_MIDDLE, 2)
    width, height = size[0] * OVERSAMPLING, size[1] * OVERSAMPLING
    camera = Camera(width, height, OVERSAMPLING * _HEIGHT / ground_sample, (place[0], _HEIGHT, place[1]), np.pi / 2,
                    float(view_rng.uniform(-np.pi, np.pi)))
    return render_land(land, camera, sample_lighting(look, light_rng), sensor_rng)


def render_land(land: Land, camera: Camera, light: Lighting, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Renders given land.

    Args:
        land: What is where.
        camera: Looks straight down; ``OVERSAMPLING`` times the size of the image.
        light: Conditions of the image.
        rng: Source of sensor noise.

    Returns:
        Image uint8 [height, width, 3] in BGR and label uint8 [height, width]; the label depends on ``land`` and
        ``camera`` only.
    """
    canvas = Canvas(camera)
    seen = _seen(land, camera)
    draw_land(canvas, seen, light, _shadow(seen, camera, light))
    for car in seen.cars:
        draw_car(canvas, light, car)
    for thing in seen.clutter:
        draw_clutter(canvas, light, thing)
    for house in seen.houses:
        draw_house(canvas, light, house)
    for tree in seen.trees:
        draw_tree(canvas, light, tree)
    hazy = add_haze(canvas.color, canvas.depth, light)
    image = cv2.resize(hazy, (camera.width // OVERSAMPLING, camera.height // OVERSAMPLING), interpolation=cv2.INTER_AREA)
    return expose(image, light, rng), shrink_label(canvas.label)


def _seen(land: Land, camera: Camera) -> Land:
    """Leaves out what is too far from the image to reach into it."""
    reach = np.hypot(camera.width, camera.height) / 2 / camera.focal * _HEIGHT + 30

    def near(things: list) -> list:
        return [thing for thing in things
                if np.hypot(thing.x - camera.position[0], thing.z - camera.position[2]) < reach]

    return Land(land.columns, land.rows, land.blocks, land.river, near(land.patches), near(land.houses), near(land.trees),
                near(land.cars), near(land.clutter))


def _shadow(land: Land, camera: Camera, light: Lighting) -> np.ndarray:
    """Share of direct light that is blocked at each ground pixel, float32 [H, W] in [0, 1]."""
    mask = np.zeros((camera.height, camera.width), np.uint8)
    for house in land.houses:
        outline = footprint(house.x, house.z, house.half_x, house.half_z, house.yaw)
        cast_shadow(mask, camera, light, outline, house.height)
    for tree in land.trees:
        cast_shadow(mask, camera, light, disc(tree.x, tree.z, 0.85 * tree.radius), 1.8 * tree.radius)
    for car in land.cars:
        cast_shadow(mask, camera, light, footprint(car.x, car.z, 0.95, 2.2, car.yaw), 1.0)
    softness = light.look.shadow_softness * camera.width
    if softness > 0:
        mask = cv2.GaussianBlur(mask, (0, 0), softness)
    return mask.astype(np.float32) / 255


SIZES: Mapping[str, tuple[int, int]] = MappingProxyType({'source': (224, 224), 'target': (256, 192)})
_CLASSES = tuple(name.name.lower().replace('_', ' ') for name in AerialId if name is not AerialId.IGNORE)
_PALETTE = ((110, 110, 118), (196, 62, 56), (24, 104, 44), (142, 196, 92), (250, 204, 40), (38, 110, 196), (226, 180, 100),
            (140, 84, 48))
AERIAL_PAIR = Pair('aerial', _CLASSES, _PALETTE, LOOKS, SIZES, render_aerial, revision=1)
