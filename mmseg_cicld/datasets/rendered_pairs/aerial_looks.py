"""The two domains of the aerial pair: a clean summer, and late autumn through a hazy sensor farther away."""
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..street_set.looks import Look, Range


@dataclass(frozen=True)
class AerialLayout:
    """Statistics of the land; lengths in metres, the rest probabilities.

    Args:
        ground_sample: Edge of a pixel on the ground.
        block: Distance between roads.
        blocks: Weights of what is between roads: homes, halls, field, wood, building site, park with a pond.
        river: Chance of a river.
        track: Chance that a road is a track of bare soil.
        trees: Number of trees in gardens, as a factor.
        cars: Mean number of cars per 100 m of road.
    """

    ground_sample: Range
    block: Range
    blocks: tuple[float, float, float, float, float, float]
    river: float
    track: float
    trees: float
    cars: float


_SUMMER = MappingProxyType({
    'asphalt': ((104, 106, 112), (92, 94, 102)),
    'paving': ((176, 170, 160), (188, 176, 160)),
    'marking': ((236, 236, 232),),
    'lawn': ((104, 150, 62), (120, 164, 74), (92, 138, 60)),
    'field': ((202, 184, 88), (164, 176, 70), (214, 198, 120), (138, 166, 72)),
    'soil': ((170, 128, 92), (186, 146, 108), (152, 112, 84)),
    'water': ((40, 96, 140), (52, 110, 146), (36, 88, 120)),
    'leaf': ((46, 100, 36), (58, 114, 44), (38, 90, 44), (70, 120, 50)),
    'roof': ((178, 80, 58), (190, 98, 70), (150, 72, 60), (122, 96, 88), (92, 92, 104)),
    'flat_roof': ((198, 198, 196), (172, 176, 182), (150, 160, 172)),
    'house_wall': ((226, 214, 192), (214, 196, 170)),
    'panel': ((30, 44, 84),),
    'car': ((220, 40, 40), (40, 90, 210), (246, 246, 248), (246, 200, 50), (40, 44, 52), (190, 194, 200)),
    'window': ((44, 56, 72),),
    'clutter': ((60, 190, 210), (60, 120, 190), (210, 120, 60)),
})

_AUTUMN = MappingProxyType({
    'asphalt': ((112, 108, 104), (124, 118, 112), (98, 96, 96)),
    'paving': ((150, 144, 138), (138, 132, 126)),
    'marking': ((196, 192, 184),),
    'lawn': ((126, 128, 78), (140, 132, 86), (112, 116, 76), (150, 140, 96)),
    'field': ((150, 128, 92), (128, 106, 80), (112, 122, 66), (170, 152, 108), (140, 116, 84)),
    'soil': ((132, 102, 80), (116, 92, 76), (148, 122, 98)),
    'water': ((70, 84, 82), (58, 72, 76), (84, 92, 84)),
    'leaf': ((112, 92, 50), (128, 84, 44), (92, 84, 56), (74, 86, 52), (104, 92, 78), (140, 110, 52)),
    'roof': ((124, 72, 58), (98, 72, 66), (88, 82, 82), (112, 96, 88), (72, 72, 78)),
    'flat_roof': ((158, 156, 152), (132, 132, 132), (116, 114, 112)),
    'house_wall': ((172, 164, 150), (154, 144, 130)),
    'panel': ((40, 44, 60),),
    'car': ((60, 62, 66), (150, 152, 154), (206, 206, 204), (52, 64, 92), (112, 44, 42), (34, 36, 38)),
    'window': ((44, 48, 52),),
    'clutter': ((84, 110, 112), (70, 84, 110), (136, 92, 66)),
})

SUMMER = Look(
    name='source',
    layout=AerialLayout(
        ground_sample=(0.34, 0.44), block=(38.0, 66.0), blocks=(0.3, 0.14, 0.2, 0.13, 0.11, 0.12), river=0.25, track=0.15,
        trees=1.0, cars=5.0),
    palette=_SUMMER, colour_jitter=0.07, texture=0.45, sun_elevation=(48.0, 68.0), sun=(0.5, 0.66), ambient=(0.48, 0.56),
    sun_tint=(1.03, 1.0, 0.95), shadow_softness=0.0, zenith=((200, 210, 220),), horizon=((200, 214, 226),),
    clouds=(0.0, 0.0), cloud_edge=1.0, haze=(0.0, 0.0001), saturation=(1.0, 1.15), contrast=(1.0, 1.1),
    exposure=(0.92, 1.08), white_balance=0.01, vignetting=(0.0, 0.0), blur=(0.0, 0.0), noise=(0.0, 0.8))
"""Summer as a game shows it: green, clear, short hard shadows."""

AUTUMN = Look(
    name='target',
    layout=AerialLayout(
        ground_sample=(0.5, 0.62), block=(46.0, 82.0), blocks=(0.26, 0.14, 0.24, 0.14, 0.1, 0.12), river=0.3, track=0.25,
        trees=1.5, cars=4.0),
    palette=_AUTUMN, colour_jitter=0.14, texture=1.0, sun_elevation=(20.0, 36.0), sun=(0.2, 0.62), ambient=(0.6, 0.74),
    sun_tint=(1.1, 0.99, 0.84), shadow_softness=0.003, zenith=((190, 194, 200),),
    horizon=((196, 202, 212), (204, 200, 192), (186, 196, 200)), clouds=(0.0, 0.0), cloud_edge=1.0, haze=(0.0003, 0.0011),
    saturation=(0.75, 1.0), contrast=(0.9, 1.1), exposure=(0.88, 1.14), white_balance=0.035, vignetting=(0.05, 0.25),
    blur=(0.35, 0.7), noise=(2.0, 6.0))
"""Late autumn from twice as far: brown fields and trees, long shadows, haze, blur, noise."""

LOOKS: Mapping[str, Look[AerialLayout]] = MappingProxyType({'source': SUMMER, 'target': AUTUMN})
"""The looks by the name of their domain."""
