"""What an augmentation of training images is: a registered component, exchangeable by config."""
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from mmseg.registry import MODELS
from torch import Tensor


class Augmentation(Protocol):
    """Changes normalised images on the device, by draws that are keyed. Equal ones are equal and have equal hashes.

    A frozen dataclass is both; register it in mmseg's ``MODELS`` and name it in ``augmentation=dict(type=...)``.
    """

    def check(self, normalisation: tuple[Tensor, Tensor], key: str) -> None:
        """Refuses images that it is not for, before training.

        Args:
            normalisation: Mean and std [1, C, 1, 1] of the data preprocessor, for channels and range of values.
            key: The key of the config to change, for the message.
        """

    def __call__(self, images_BCHW: Tensor, normalisation: tuple[Tensor, Tensor],
                 uniform: Callable[..., np.ndarray | float], indices: Sequence[int]) -> Tensor:
        """Augments a batch.

        Args:
            images_BCHW: Normalised images.
            normalisation: As above.
            uniform: ``uniform(name, *key, size=...)`` draws numbers in [0, 1).
            indices: Index of each image over all processes; as key, what is drawn belongs to the image.
        """


def build_augmentation(config: Mapping | None, **defaults: object) -> Augmentation:
    """Builds an augmentation, a ``StrongAugmentation`` with ``defaults`` if the config names no type.

    Args:
        config: ``dict(type=..., ...)``, or the arguments of ``StrongAugmentation``, or None.
        **defaults: Arguments of ``StrongAugmentation`` that the config may change.
    """
    config = dict(config or {})
    return MODELS.build(config if 'type' in config else dict(defaults, type='StrongAugmentation', **config))
