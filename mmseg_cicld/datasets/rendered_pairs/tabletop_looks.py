"""The two domains of the texture pair: painted plainly or with fine stripes, and covered with patterns of other families."""
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..street_set.looks import Look, Range


@dataclass(frozen=True)
class TabletopLayout:
    """Statistics of a table; lengths as shares of the image height.

    Args:
        edge: Row where the table meets the wall.
        number: Smallest and largest number of things.
        size: Scale of the things.
        patterns: Families of patterns, one of which is drawn for each surface.
        period: Size of the patterns.
        strength: How far the second colour of a pattern is from the first, 0 to 1.
    """

    edge: Range
    number: tuple[int, int]
    size: Range
    patterns: tuple[str, ...]
    period: Range
    strength: Range


_PLAIN = MappingProxyType({
    'thing': ((208, 60, 54), (52, 108, 196), (240, 196, 66), (70, 156, 92), (240, 240, 236), (60, 62, 72), (232, 128, 52),
              (136, 84, 164), (96, 188, 200), (232, 164, 176), (150, 104, 70), (168, 172, 178)),
    'wall': ((222, 212, 196), (196, 208, 216), (208, 216, 196), (226, 200, 190), (180, 178, 186), (214, 214, 216)),
    'table': ((170, 120, 80), (200, 156, 110), (120, 84, 62), (214, 206, 196), (94, 96, 104), (146, 150, 128)),
    'napkin': ((248, 248, 244), (220, 90, 90), (90, 130, 190)),
})

_WORN = MappingProxyType({
    'thing': ((182, 66, 60), (64, 104, 170), (214, 178, 82), (82, 140, 96), (222, 218, 208), (66, 64, 70), (204, 124, 66),
              (124, 88, 146), (104, 170, 178), (206, 156, 160), (138, 104, 78), (156, 156, 156)),
    'wall': ((204, 192, 172), (172, 186, 192), (188, 192, 166), (204, 176, 162), (156, 152, 158), (196, 192, 186)),
    'table': ((150, 112, 80), (178, 142, 106), (108, 82, 66), (190, 180, 166), (96, 94, 98), (130, 132, 114)),
    'napkin': ((224, 220, 210), (190, 92, 88), (96, 124, 166)),
})

PLAIN = Look(
    name='source',
    layout=TabletopLayout(edge=(0.4, 0.56), number=(4, 8), size=(0.5, 0.68), patterns=('plain', 'plain', 'stripes'),
                          period=(0.02, 0.05), strength=(0.15, 0.4)),
    palette=_PLAIN, colour_jitter=0.12, texture=0.0, sun_elevation=(30.0, 55.0), sun=(0.3, 0.45), ambient=(0.6, 0.68),
    sun_tint=(1.0, 1.0, 1.0), shadow_softness=0.012, zenith=((0, 0, 0),), horizon=((0, 0, 0),), clouds=(0.0, 0.0),
    cloud_edge=1.0, haze=(0.0, 0.0), saturation=(0.95, 1.1), contrast=(0.95, 1.1), exposure=(0.9, 1.1),
    white_balance=0.015, vignetting=(0.0, 0.08), blur=(0.0, 0.3), noise=(0.5, 2.0))
"""Plain paint, here and there with fine stripes."""

PATTERNED = Look(
    name='target',
    layout=TabletopLayout(edge=(0.34, 0.56), number=(4, 9), size=(0.46, 0.68),
                          patterns=('checks', 'dots', 'marble', 'wood', 'camouflage', 'zigzag'), period=(0.035, 0.11),
                          strength=(0.25, 0.75)),
    palette=_WORN, colour_jitter=0.16, texture=1.0, sun_elevation=(20.0, 60.0), sun=(0.2, 0.5), ambient=(0.58, 0.7),
    sun_tint=(1.04, 1.0, 0.94), shadow_softness=0.02, zenith=((0, 0, 0),), horizon=((0, 0, 0),), clouds=(0.0, 0.0),
    cloud_edge=1.0, haze=(0.0, 0.0), saturation=(0.85, 1.1), contrast=(0.9, 1.1), exposure=(0.85, 1.15),
    white_balance=0.025, vignetting=(0.0, 0.2), blur=(0.2, 0.5), noise=(1.0, 4.0))
"""Checks, dots, marble, wood, camouflage and zigzags with grain, on nearly the same colours."""

LOOKS: Mapping[str, Look[TabletopLayout]] = MappingProxyType({'source': PLAIN, 'target': PATTERNED})
"""The looks by the name of their domain."""
