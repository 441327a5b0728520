"""The two domains of the street set, each one table of constants.

The gap between the domains is tuned here and nowhere else: a :class:`Look` holds what light, materials, air and sensor
do, a :class:`Layout` how streets are laid out. Ranges are (low, high) of a uniform draw per image.
"""
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar

Range = tuple[float, float]
RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Layout:
    """Statistics of where things stand; lengths in metres, angles in degrees, the rest probabilities.

    Args:
        camera_height: Height of the camera above the road.
        pitch: Downward tilt of the camera.
        yaw: Largest turn of the camera to either side.
        roll: Largest roll of the camera to either side.
        focal: Focal length as a share of the image width.
        lanes: Smallest and largest number of lanes per direction.
        lane_width: Width of a lane.
        sidewalk: Width of the sidewalks.
        setback: Distance from the sidewalk to the facades.
        storeys: Smallest and largest number of storeys.
        curve: Largest curvature of the road in 1/m.
        lots: Weights of what lines the street: building, wall, fence, park.
        verge: Chance of a grass strip between kerb and sidewalk.
        crossing: Chance of an intersection.
        parked: Chance that a parking place is taken.
        traffic: Mean number of driving cars.
        pedestrians: Mean number of pedestrians.
        bonnet: Chance that the bonnet of the own car is seen (ignored pixels).
    """

    camera_height: Range
    pitch: Range
    yaw: float
    roll: float
    focal: Range
    lanes: tuple[int, int]
    lane_width: Range
    sidewalk: Range
    setback: Range
    storeys: tuple[int, int]
    curve: float
    lots: tuple[float, float, float, float]
    verge: float
    crossing: float
    parked: float
    traffic: float
    pedestrians: float
    bonnet: float


LayoutT = TypeVar('LayoutT')


@dataclass(frozen=True)
class Look(Generic[LayoutT]):
    """How a street, or another scene, is seen.

    Args:
        name: Name of the domain.
        layout: Statistics of the streets; a :class:`Layout`, or what another scene has in its place.
        palette: RGB base colours of every material.
        colour_jitter: Deviation of an object's colour from its base colour, as a share.
        texture: Strength of surface texture; 1 is plain to see, 0 is none.
        sun_elevation: Height of the sun in degrees.
        sun: Strength of direct light; with ``ambient`` it sums to about 1 for a white surface in the sun.
        ambient: Strength of light from everywhere.
        sun_tint: RGB gains of direct light.
        shadow_softness: Blur of cast shadows as a share of the image width.
        zenith: Sky colours overhead; one is drawn per image, the same entry of ``horizon`` goes with it.
        horizon: Sky colours at the horizon, and of the haze.
        clouds: Cloud cover between 0 and 1.
        cloud_edge: Width of the cloud borders; small is crisp.
        haze: Extinction per metre.
        saturation: Gain of colourfulness.
        contrast: Gain about middle grey.
        exposure: Gain of brightness.
        white_balance: Deviation of the channel gains.
        vignetting: Loss of brightness in the corners.
        blur: Deviation of the optical blur in output pixels (at 256 columns; scales with the size).
        noise: Deviation of the sensor noise in grey values.
    """

    name: str
    layout: LayoutT
    palette: Mapping[str, tuple[RGB, ...]]
    colour_jitter: float
    texture: float
    sun_elevation: Range
    sun: Range
    ambient: Range
    sun_tint: tuple[float, float, float]
    shadow_softness: float
    zenith: tuple[RGB, ...]
    horizon: tuple[RGB, ...]
    clouds: Range
    cloud_edge: float
    haze: Range
    saturation: Range
    contrast: Range
    exposure: Range
    white_balance: float
    vignetting: Range
    blur: Range
    noise: Range


_SOURCE_PALETTE = MappingProxyType({
    'asphalt': ((96, 98, 108), (84, 88, 100)),
    'marking': ((240, 240, 236),),
    'yellow': ((244, 200, 64),),
    'kerb': ((206, 200, 190),),
    'pavement': ((196, 184, 164), (186, 176, 164), (204, 186, 160)),
    'grass': ((132, 172, 66), (116, 160, 60), (160, 176, 84)),
    'rail': ((70, 66, 70),),
    'facade': ((226, 186, 132), (206, 120, 92), (238, 216, 166), (168, 190, 208), (214, 160, 150),
               (240, 232, 216)),
    'roof': ((168, 76, 56), (110, 84, 80), (140, 96, 74)),
    'frame': ((250, 246, 236), (96, 74, 62)),
    'glass': ((86, 132, 176), (70, 112, 150)),
    'shop': ((60, 84, 110), (90, 60, 60), (50, 96, 90)),
    'awning': ((210, 60, 50), (50, 130, 90), (50, 90, 190), (240, 190, 70)),
    'wall': ((188, 148, 116), (176, 110, 84), (200, 180, 150)),
    'fence': ((60, 84, 74), (96, 100, 110), (150, 104, 70)),
    'pole': ((128, 134, 140), (96, 104, 112)),
    'signal': ((44, 48, 46), (220, 176, 40)),
    'lamp_red': ((255, 50, 40),),
    'lamp_amber': ((255, 190, 40),),
    'lamp_green': ((60, 255, 140),),
    'sign_white': ((252, 252, 252),),
    'sign_red': ((226, 36, 40),),
    'sign_blue': ((30, 96, 220),),
    'sign_yellow': ((252, 206, 40),),
    'sign_green': ((20, 140, 84),),
    'leaf': ((66, 146, 44), (84, 158, 56), (48, 124, 50), (110, 166, 60)),
    'bark': ((112, 82, 58),),
    'skin': ((232, 182, 146), (176, 120, 84), (120, 80, 58)),
    'hair': ((60, 42, 30), (30, 26, 26), (150, 110, 60)),
    'shirt': ((220, 60, 60), (60, 110, 220), (250, 230, 90), (250, 250, 250), (60, 180, 120), (230, 120, 190)),
    'trousers': ((48, 66, 130), (70, 70, 80), (180, 160, 120), (40, 40, 46)),
    'helmet': ((240, 240, 240), (220, 40, 40), (40, 40, 46)),
    'car': ((214, 34, 40), (40, 96, 214), (248, 196, 40), (246, 246, 248), (44, 160, 110), (50, 52, 60),
            (240, 120, 40)),
    'truck': ((240, 240, 244), (60, 120, 200), (210, 70, 50), (246, 190, 70)),
    'bus': ((240, 176, 40), (220, 60, 50), (50, 150, 110)),
    'train': ((60, 90, 190), (220, 50, 60), (90, 180, 90)),
    'stripe': ((246, 246, 246),),
    'motorcycle': ((200, 40, 44), (40, 44, 52), (50, 90, 190)),
    'bicycle': ((230, 60, 60), (50, 90, 200), (60, 170, 120)),
    'window': ((52, 74, 98),),
    'tyre': ((34, 34, 38),),
    'rim': ((176, 180, 188),),
    'trim': ((52, 54, 60),),
    'tail': ((232, 36, 32),),
    'head': ((255, 252, 226),),
    'plate': ((250, 250, 240),),
    'clutter': ((70, 120, 90), (120, 120, 130)),
    'bonnet': ((40, 44, 52),),
})

_TARGET_PALETTE = MappingProxyType({
    'asphalt': ((112, 108, 104), (126, 122, 116), (98, 96, 96)),
    'marking': ((206, 204, 196),),
    'yellow': ((206, 204, 196),),
    'kerb': ((150, 146, 140),),
    'pavement': ((136, 128, 124), (124, 120, 118), (146, 132, 122)),
    'grass': ((104, 108, 62), (122, 110, 72), (92, 102, 66)),
    'rail': ((84, 76, 70),),
    'facade': ((150, 140, 126), (128, 112, 102), (170, 162, 150), (118, 118, 122), (152, 118, 100), (186, 176, 158)),
    'roof': ((96, 70, 62), (78, 78, 84), (110, 84, 70)),
    'frame': ((178, 174, 168), (70, 64, 62)),
    'glass': ((58, 62, 68), (84, 88, 92)),
    'shop': ((54, 52, 54), (80, 70, 64), (62, 70, 74)),
    'awning': ((120, 56, 52), (60, 84, 72), (64, 72, 104), (160, 136, 96)),
    'wall': ((138, 128, 118), (120, 96, 84), (104, 104, 102)),
    'fence': ((74, 78, 76), (104, 102, 98), (112, 92, 76)),
    'pole': ((104, 104, 104), (82, 86, 84)),
    'signal': ((36, 38, 38), (54, 60, 50)),
    'lamp_red': ((250, 84, 64),),
    'lamp_amber': ((250, 186, 90),),
    'lamp_green': ((120, 236, 190),),
    'sign_white': ((214, 212, 206),),
    'sign_red': ((176, 52, 50),),
    'sign_blue': ((52, 88, 152),),
    'sign_yellow': ((214, 176, 76),),
    'sign_green': ((44, 104, 84),),
    'leaf': ((74, 82, 50), (60, 72, 46), (94, 90, 50), (112, 94, 52), (70, 78, 60)),
    'bark': ((78, 70, 62),),
    'skin': ((206, 164, 140), (150, 108, 84), (104, 76, 62)),
    'hair': ((54, 46, 42), (40, 36, 36), (120, 100, 78)),
    'shirt': ((60, 62, 74), (40, 42, 46), (128, 60, 58), (150, 146, 140), (70, 84, 112), (96, 88, 72)),
    'trousers': ((48, 54, 74), (44, 44, 48), (96, 88, 78), (30, 32, 36)),
    'helmet': ((190, 188, 184), (60, 60, 66), (150, 60, 56)),
    'car': ((44, 46, 50), (150, 152, 156), (214, 214, 214), (84, 88, 96), (46, 60, 96), (110, 36, 38), (120, 112, 100)),
    'truck': ((206, 206, 204), (88, 104, 130), (132, 72, 60), (160, 156, 148)),
    'bus': ((214, 196, 150), (150, 60, 54), (80, 108, 120)),
    'train': ((196, 176, 110), (150, 52, 50), (84, 104, 118)),
    'stripe': ((200, 198, 192),),
    'motorcycle': ((112, 44, 42), (44, 46, 48), (60, 70, 92)),
    'bicycle': ((70, 72, 76), (48, 50, 54), (104, 60, 56)),
    'window': ((44, 48, 52),),
    'tyre': ((32, 32, 32),),
    'rim': ((120, 120, 122),),
    'trim': ((44, 44, 46),),
    'tail': ((190, 40, 36),),
    'head': ((246, 240, 216),),
    'plate': ((210, 208, 200),),
    'clutter': ((76, 84, 76), (104, 102, 100)),
    'bonnet': ((30, 32, 36), (96, 98, 100)),
})

_PAINT_SHIFT = 0.35


def _repaint(share: float) -> Mapping[str, tuple[RGB, ...]]:
    """Moves the source's paint towards the target's: 0 leaves it, 1 gives the target's own."""
    mixed = {}
    for material, entries in _TARGET_PALETTE.items():
        origin = _SOURCE_PALETTE[material]
        mixed[material] = tuple(
            tuple(round((1 - share) * a + share * b) for a, b in zip(origin[i % len(origin)], entry))
            for i, entry in enumerate(entries))
    return MappingProxyType(mixed)


SOURCE = Look(
    name='source',
    layout=Layout(
        camera_height=(1.45, 1.9), pitch=(1.0, 4.0), yaw=3.0, roll=0.0, focal=(0.86, 1.0), lanes=(1, 2),
        lane_width=(3.3, 3.9), sidewalk=(2.6, 4.6), setback=(0.0, 3.0), storeys=(3, 10), curve=1 / 500,
        lots=(0.52, 0.15, 0.15, 0.18), verge=0.3, crossing=0.45, parked=0.3, traffic=4.0, pedestrians=5.0,
        bonnet=0.0),
    palette=_SOURCE_PALETTE, colour_jitter=0.08, texture=0.35,
    sun_elevation=(32.0, 65.0), sun=(0.5, 0.72), ambient=(0.5, 0.58), sun_tint=(1.04, 1.0, 0.93),
    shadow_softness=0.0, zenith=((46, 112, 216), (58, 128, 222), (70, 120, 200), (136, 164, 204), (168, 180, 198)),
    horizon=((176, 212, 244), (190, 220, 246), (206, 216, 232), (214, 220, 228), (212, 214, 218)),
    clouds=(0.0, 0.85), cloud_edge=0.5,
    haze=(0.0005, 0.003), saturation=(1.0, 1.15), contrast=(1.0, 1.12), exposure=(0.9, 1.1), white_balance=0.01,
    vignetting=(0.0, 0.0), blur=(0.0, 0.0), noise=(0.0, 0.6))
"""A clean, game-like day: saturated paint, flat surfaces, hard shadows, blue sky."""

TARGET = Look(
    name='target',
    layout=Layout(
        camera_height=(1.15, 1.5), pitch=(-1.0, 3.0), yaw=4.0, roll=1.0, focal=(1.0, 1.15), lanes=(1, 2),
        lane_width=(2.8, 3.3), sidewalk=(2.4, 4.4), setback=(0.0, 2.5), storeys=(2, 6), curve=1 / 350,
        lots=(0.46, 0.15, 0.19, 0.20), verge=0.35, crossing=0.45, parked=0.45, traffic=3.0, pedestrians=7.0,
        bonnet=0.8),
    palette=_repaint(_PAINT_SHIFT), colour_jitter=0.16, texture=1.0,
    sun_elevation=(12.0, 30.0), sun=(0.05, 0.5), ambient=(0.64, 0.78), sun_tint=(1.12, 0.98, 0.8),
    shadow_softness=0.012, zenith=((168, 178, 192), (140, 158, 184), (186, 182, 180), (96, 136, 190)),
    horizon=((212, 212, 210), (204, 206, 208), (226, 208, 184), (200, 204, 204)), clouds=(0.4, 1.0), cloud_edge=1.6,
    haze=(0.002, 0.0055), saturation=(0.7, 1.0), contrast=(0.86, 1.0), exposure=(0.88, 1.16), white_balance=0.035,
    vignetting=(0.08, 0.3), blur=(0.3, 0.65), noise=(2.0, 6.0))
"""A dull day through a car's camera: grey paint, rough surfaces, low sun or clouds, haze, noise."""

LOOKS: Mapping[str, Look[Layout]] = MappingProxyType({'source': SOURCE, 'target': TARGET})
"""The looks by the name of their domain."""
