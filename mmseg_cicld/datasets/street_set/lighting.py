"""Light, air and paint of one image, drawn from a look."""
from dataclasses import dataclass

import numpy as np

from .looks import Look, Range


def _bgr(rgb: tuple[int, int, int]) -> np.ndarray:
    return np.array(rgb[::-1], np.float32)


@dataclass(frozen=True)
class Lighting:
    """One image's conditions.

    Args:
        look: The domain.
        to_sun: Unit vector towards the sun, world axes.
        sun: BGR gains of direct light, float32 [3].
        ambient: Gain of light from everywhere.
        zenith: BGR of the sky overhead, float32 [3].
        horizon: BGR of the sky at the horizon and of the haze, float32 [3].
        clouds: Cloud cover between 0 and 1.
        haze: Extinction per metre.
        seed: Seed for textures that belong to the image.
    """

    look: Look
    to_sun: np.ndarray
    sun: np.ndarray
    ambient: float
    zenith: np.ndarray
    horizon: np.ndarray
    clouds: float
    haze: float
    seed: int

    def paint(self, material: str, unit: float) -> np.ndarray:
        """Colour of one object.

        Args:
            material: A key of the look's palette.
            unit: The object's own number in [0, 1): picks an entry of the palette and its deviation from it.

        Returns:
            BGR in [0, 255], float32 [3].
        """
        entries = self.look.palette[material]
        place = unit * len(entries)
        red, green, blue = entries[int(place)]
        jitter = 2 * self.look.colour_jitter
        common = 1 + jitter * (place % 1 - 0.5)
        tint = 0.3 * jitter
        color = (blue * (common + tint * (place * 7 % 1 - 0.5)), green * (common + tint * (place * 13 % 1 - 0.5)),
                 red * common)
        return np.array([min(value, 255.0) for value in color], np.float32)

    def shade(self, color: np.ndarray, normal: np.ndarray) -> np.ndarray:
        """Lights a flat surface.

        Args:
            color: BGR of the paint, [3] or [..., 3].
            normal: Unit normal of the surface, [3].

        Returns:
            Lit BGR in [0, 255], float32, shape of ``color``.
        """
        facing = max(0.0, float(np.dot(normal, self.to_sun)))
        from_sky = 0.88 + 0.12 * float(normal[1])
        return np.minimum(color * (self.ambient * from_sky + self.sun * np.float32(facing)), 255)


def _between(rng: np.random.Generator, span: Range) -> float:
    return float(rng.uniform(*span))


def sample_lighting(look: Look, rng: np.random.Generator) -> Lighting:
    """Draws the conditions of one image from a look."""
    elevation = np.radians(_between(rng, look.sun_elevation))
    azimuth = rng.uniform(-np.pi, np.pi)
    to_sun = np.array([np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)])
    sky = int(rng.integers(len(look.zenith)))
    return Lighting(
        look=look, to_sun=to_sun, sun=_between(rng, look.sun) * np.array(look.sun_tint[::-1], np.float32),
        ambient=_between(rng, look.ambient), zenith=_bgr(look.zenith[sky]), horizon=_bgr(look.horizon[sky]),
        clouds=_between(rng, look.clouds), haze=_between(rng, look.haze), seed=int(rng.integers(2**31)))
