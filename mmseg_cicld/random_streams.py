"""Keyed random streams: every draw has its own seed, none depends on what was drawn before.

A stream is named by ``(seed, name, *key)``, where the key is usually ``(iteration, index)`` with the index of
the sample in the batch over all processes. So a run that resumes at iteration n draws what an uninterrupted run
draws there, the number of workers changes nothing, and a new objective does not disturb the draws of the others.
"""
import contextlib
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class KeyedStreams:
    """Random generators that are named, not shared.

    Args:
        seed: Seed of the whole run, as given in ``randomness.seed`` of the config.
    """

    seed: int

    def integer(self, name: str, *key: int) -> int:
        """Derives a seed for one stream.

        Args:
            name: What is drawn, for example ``'mix_classes'``.
            *key: Integers that tell the draws of that name apart, usually iteration and sample index.

        Returns:
            An integer in [0, 2**63).
        """
        text = repr((int(self.seed), str(name), *(int(k) for k in key)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), 'little') >> 1

    def numpy(self, name: str, *key: int) -> np.random.Generator:
        """Returns the NumPy generator of one stream, see :meth:`integer`."""
        return np.random.default_rng(self.integer(name, *key))

    def uniform(self, name: str, *key: int, size: int | tuple[int, ...] | None = None) -> np.ndarray | float:
        """Draws float64 numbers in [0, 1) from one stream, one number without ``size``, see :meth:`integer`."""
        return self.numpy(name, *key).random(size)

    def torch(self, name: str, *key: int, device: torch.device | str = 'cpu') -> torch.Generator:
        """Returns the torch generator of one stream on ``device``, see :meth:`integer`."""
        return torch.Generator(device=device).manual_seed(self.integer(name, *key))


@contextlib.contextmanager
def seeded_globals(seed: int) -> Iterator[None]:
    """Seeds the global streams of Python, NumPy and torch (CPU) inside the block and restores them after it.

    For code that is not ours and draws from global streams, such as mmseg's data transforms.

    Args:
        seed: An integer in [0, 2**63), for example from :meth:`KeyedStreams.integer`.
    """
    python_state, numpy_state, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
