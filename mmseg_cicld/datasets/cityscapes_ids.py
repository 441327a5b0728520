"""Numbers that label files of the driving datasets use, and the 19 training ids they stand for.

Sources: the label definitions that Cityscapes, GTA5 and SYNTHIA publish with their data.
"""
import numpy as np

from ..ignore_index import IGNORE_INDEX

# Cityscapes label id of each training id; GTA5 labels use the same numbers.
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

# SYNTHIA-RAND-CITYSCAPES class -> training id. 16, 18 and 20 (train, terrain, truck) never occur in its data.
SYNTHIA_TRAIN_IDS = {3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 16: 9, 1: 10, 10: 11, 17: 12, 8: 13,
                     18: 14, 19: 15, 20: 16, 12: 17, 11: 18}


def lookup_table(train_ids: dict[int, int]) -> np.ndarray:
    """Returns uint8 [65536] that maps a number of a label file to its training id, all others to 255."""
    table = np.full(2**16, IGNORE_INDEX, np.uint8)
    for number, train_id in train_ids.items():
        table[number] = train_id
    return table


CITYSCAPES_TABLE = lookup_table({label: train for train, label in enumerate(LABEL_IDS)})
SYNTHIA_TABLE = lookup_table(SYNTHIA_TRAIN_IDS)
