"""The classes of the aerial pair."""
from enum import IntEnum


class AerialId(IntEnum):
    """Class ids; 255 is left out of training and scores."""

    ROAD = 0
    BUILDING = 1
    TREE = 2
    LOW_VEGETATION = 3
    CAR = 4
    WATER = 5
    FIELD = 6
    BARE_SOIL = 7
    IGNORE = 255
