"""Streets by day and by night, with the 19 classes of Cityscapes; the night is seen by another camera."""
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import cv2
import numpy as np
from mmseg.datasets import CityscapesDataset

from ..street_set.layout import sample_scene
from ..street_set.lighting import Lighting, sample_lighting
from ..street_set.looks import RGB, TARGET, Layout, Look
from ..street_set.renderer import paint, shrink_label
from ..street_set.scene import Scene
from ..street_set.sensor import expose
from .night_lamps import add_glare, lamp_light
from .pair import Pair, streams

_LIT: Mapping[str, tuple[RGB, ...]] = MappingProxyType({
    'glass': ((22, 24, 30), (30, 30, 36), (246, 206, 138), (20, 22, 28), (24, 26, 30), (214, 196, 164)),
    'shop': ((240, 214, 170), (40, 38, 40), (196, 206, 220)),
    'lamp_red': ((255, 70, 50),), 'lamp_amber': ((255, 190, 90),), 'lamp_green': ((110, 255, 190),),
    'tail': ((230, 40, 34),), 'head': ((255, 250, 228),)})
"""What shines by itself."""


def _night_palette(day: Mapping[str, tuple[RGB, ...]]) -> Mapping[str, tuple[RGB, ...]]:
    """Darkens paint, and a little more its red and green, as the eye of a camera does under a night sky."""
    dark = {material: tuple((round(0.395 * red), round(0.4 * green), round(0.45 * blue)) for red, green, blue in entries)
            for material, entries in day.items()}
    return MappingProxyType(dark | dict(_LIT))


DAY: Look[Layout] = replace(
    TARGET, name='source', layout=replace(TARGET.layout, bonnet=0.0, camera_height=(1.3, 1.7), focal=(0.84, 0.96)),
    texture=0.8, sun_elevation=(25.0, 60.0), sun=(0.25, 0.6), ambient=(0.56, 0.68), sun_tint=(1.05, 1.0, 0.92),
    clouds=(0.0, 0.8), haze=(0.0008, 0.0035), saturation=(0.9, 1.1), contrast=(0.95, 1.08), white_balance=0.02,
    vignetting=(0.0, 0.08), blur=(0.15, 0.35), noise=(0.8, 2.0))
"""Fair days, a camera behind the windscreen."""

NIGHT: Look[Layout] = replace(
    TARGET, name='target',
    layout=replace(TARGET.layout, bonnet=0.35, camera_height=(0.95, 1.3), pitch=(-2.0, 1.5), focal=(1.1, 1.3), roll=1.5,
                   traffic=4.0, pedestrians=6.0),
    palette=_night_palette(TARGET.palette), colour_jitter=0.18, texture=1.1, sun=(0.0, 0.04), ambient=(0.62, 1.05),
    sun_tint=(0.9, 0.97, 1.1), shadow_softness=0.02, zenith=((12, 14, 30), (22, 20, 26), (8, 10, 18), (30, 26, 30)),
    horizon=((44, 38, 46), (60, 48, 42), (26, 28, 42), (70, 56, 44)), clouds=(0.0, 0.12), cloud_edge=2.4,
    haze=(0.001, 0.006), saturation=(0.6, 0.95), contrast=(0.95, 1.2), exposure=(1.0, 1.5), white_balance=0.06,
    vignetting=(0.25, 0.6), blur=(0.35, 0.8), noise=(5.0, 11.0))
"""Nights in town, a low camera with a longer lens: lamps, glare, noise, dark corners."""


def render_night(domain: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Renders one street; see :class:`~.pair.Pair` for arguments and result."""
    look, size, (scene_rng, light_rng, sensor_rng, lamp_rng) = LOOKS[domain], SIZES[domain], streams(domain, seed)
    scene = sample_scene(look.layout, scene_rng)
    return render_street(scene, sample_lighting(look, light_rng), size, sensor_rng, lamp_rng)


def render_street(scene: Scene, light: Lighting, size: tuple[int, int], rng: np.random.Generator,
                  lamp_rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Renders a given street; lamps are lit if the look is :data:`NIGHT`.

    Args:
        scene: The street.
        light: Conditions of the image.
        size: Width and height in pixels.
        rng: Source of sensor noise.
        lamp_rng: Source of the strength of lamps.

    Returns:
        Image uint8 [height, width, 3] in BGR and label uint8 [height, width]; the label depends on ``scene`` and
        ``size`` only.
    """
    canvas, radiance = paint(scene, light, size)
    image = cv2.resize(radiance, size, interpolation=cv2.INTER_AREA)
    if light.look is NIGHT:
        image = add_glare(image * lamp_light(canvas, scene, lamp_rng), canvas, scene, lamp_rng)
    return expose(image, light, rng), shrink_label(canvas.label)


LOOKS: Mapping[str, Look[Layout]] = MappingProxyType({'source': DAY, 'target': NIGHT})
SIZES: Mapping[str, tuple[int, int]] = MappingProxyType({'source': (256, 128), 'target': (256, 144)})
_META = CityscapesDataset.METAINFO
NIGHT_PAIR = Pair(
    'night', tuple(_META['classes']), tuple(map(tuple, _META['palette'])), LOOKS, SIZES, render_night, revision=1)
