"""Writes the street set in the folder layout of Cityscapes, in parallel, and continues where it was stopped."""
import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..rendered_files import Frame, Manifest, check_numbers, list_frames, render_missing
from .looks import LOOKS
from .renderer import check_size, render_scene

MANIFEST = 'street_set.json'
"""Name of the file in the output folder that records the parameters and whether the set is complete."""

_REVISION = 1


@dataclass(frozen=True)
class StreetCounts:
    """Numbers of images; the labels of the target's training images are for the oracle only."""

    source_train: int = 400
    source_val: int = 50
    target_train: int = 400
    target_val: int = 100


def render_street_set(out_dir: str | Path, counts: StreetCounts = StreetCounts(), size: tuple[int, int] = (256, 128),
                      seed: int = 0, nproc: int = 1, report: Callable[[str], None] = print) -> int:
    """Renders the whole set, or what is missing of it.

    Files appear as ``OUT/{source,target}/leftImg8bit/{train,val}/street/street_000000_000000_leftImg8bit.png`` and
    ``OUT/{source,target}/gtFine/{train,val}/street/street_000000_000000_gtFine_labelTrainIds.png``. Whole files that
    are there already are kept.

    Args:
        out_dir: Output folder, made if missing.
        counts: Numbers of images.
        size: Width and height in pixels.
        seed: Seed of the set, non-negative. The files do not depend on ``nproc``.
        nproc: Number of processes, at least 1.
        report: Receives a line of progress every few seconds.

    Returns:
        Number of images that were rendered, 0 if the set was complete.

    Raises:
        ValueError: If the folder holds a set with other parameters, or an argument is out of range.
    """
    check_size(size)
    check_numbers(seed, nproc)
    frames = list_frames(asdict(counts))
    manifest = Manifest(Path(out_dir) / MANIFEST, 'street set', _parameters(counts, size, seed))
    return render_missing(manifest, frames, _paths, partial(_render_frame, size=size, seed=seed), nproc, report)


def _parameters(counts: StreetCounts, size: tuple[int, int], seed: int) -> dict:
    looks = hashlib.blake2b(repr(dict(LOOKS)).encode(), digest_size=8).hexdigest()
    return dict(revision=_REVISION, looks=looks, seed=seed, size=list(size), counts=asdict(counts))


def _paths(frame: Frame) -> tuple[str, str]:
    stem = f'{frame.split}/street/street_{frame.index:06d}_000000'
    return (f'{frame.domain}/leftImg8bit/{stem}_leftImg8bit.png', f'{frame.domain}/gtFine/{stem}_gtFine_labelTrainIds.png')


def _render_frame(frame: Frame, size: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    return render_scene(frame.domain, frame.seed(seed), size)
