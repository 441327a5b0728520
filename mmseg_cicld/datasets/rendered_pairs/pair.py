"""What a rendered pair is: two domains with the same classes."""
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..street_set.looks import RGB, Look


@dataclass(frozen=True)
class Pair:
    """Two domains and how their images are painted.

    Args:
        name: What the pair is called on the command line.
        classes: Names by class id; pixels of no class are 255 in the labels.
        palette: RGB of the classes.
        looks: The domains, 'source' and 'target'.
        sizes: Width and height of the images of each domain in pixels.
        render: Paints the scene of a seed (non-negative) in a domain: image uint8 [height, width, 3] in BGR and label
            uint8 [height, width]. The same arguments give the same bytes.
        revision: Changes when the same seed gives another image.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[RGB, ...]
    looks: Mapping[str, Look]
    sizes: Mapping[str, tuple[int, int]]
    render: Callable[[str, int], tuple[np.ndarray, np.ndarray]]
    revision: int


def streams(domain: str, seed: int) -> list[np.random.Generator]:
    """Independent sources of randomness of one image: scene, conditions, sensor, and one to spare.

    The two domains draw different scenes from the same seed.
    """
    key = [seed, ('source', 'target').index(domain)]
    return [np.random.default_rng(stream) for stream in np.random.SeedSequence(key).spawn(4)]
