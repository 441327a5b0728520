"""Writes a pair in the folder layout of own data, in parallel, and continues where it was stopped."""
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..rendered_files import Frame, Manifest, check_numbers, list_frames, render_missing, replace_file
from .aerial import AERIAL_PAIR
from .night import NIGHT_PAIR
from .pair import Pair
from .tabletop import TEXTURE_PAIR

PAIRS = {pair.name: pair for pair in (NIGHT_PAIR, AERIAL_PAIR, TEXTURE_PAIR)}
"""All pairs by name."""

MANIFEST = 'pair.json'
"""Name of the file in the output folder that records the parameters and whether the set is complete."""

CLASSES = 'classes.json'
"""Name of the file with names and colours of the classes."""


@dataclass(frozen=True)
class PairCounts:
    """Numbers of images; the labels of the target's training images are for the oracle only."""

    source_train: int = 200
    target_train: int = 200
    target_val: int = 50


def render_pair(name: str, out_dir: str | Path, counts: PairCounts = PairCounts(), seed: int = 0, nproc: int = 1,
                report: Callable[[str], None] = print) -> int:
    """Renders a whole pair, or what is missing of it.

    Files appear as ``OUT/{source,target}/{images,labels}/{train,val}/NAME_000000.png`` and ``OUT/classes.json``. Whole
    images that are there already are kept.

    Args:
        name: A key of :data:`PAIRS`.
        out_dir: Output folder, made if missing.
        counts: Numbers of images.
        seed: Seed of the set, non-negative. The files do not depend on ``nproc``.
        nproc: Number of processes, at least 1.
        report: Receives a line of progress every few seconds.

    Returns:
        Number of images that were rendered, 0 if the set was complete.

    Raises:
        ValueError: If the folder holds a set with other parameters, or an argument is out of range.
    """
    if name not in PAIRS:
        raise ValueError(f'Unknown pair {name!r}; there are {", ".join(PAIRS)}.')
    check_numbers(seed, nproc)
    frames, pair = list_frames(asdict(counts)), PAIRS[name]
    manifest = Manifest(Path(out_dir) / MANIFEST, 'rendered pair', _parameters(pair, counts, seed))
    manifest.check()
    content = dict(classes=pair.classes, palette=pair.palette)
    replace_file(Path(out_dir) / CLASSES, (json.dumps(content, indent=2) + '\n').encode())
    return render_missing(manifest, frames, partial(_paths, name), partial(_render_frame, name, seed), nproc, report)


def _parameters(pair: Pair, counts: PairCounts, seed: int) -> dict:
    looks = hashlib.blake2b(repr(dict(pair.looks)).encode(), digest_size=8).hexdigest()
    sizes = {domain: list(size) for domain, size in pair.sizes.items()}
    return dict(pair=pair.name, revision=pair.revision, looks=looks, seed=seed, sizes=sizes, counts=asdict(counts))


def _paths(name: str, frame: Frame) -> tuple[str, str]:
    place = f'{frame.split}/{name}_{frame.index:06d}.png'
    return f'{frame.domain}/images/{place}', f'{frame.domain}/labels/{place}'


def _render_frame(name: str, seed: int, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    return PAIRS[name].render(frame.domain, frame.seed(seed))
