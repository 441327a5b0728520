"""Writes the street set in the folder layout of Cityscapes, in parallel, and continues where it was stopped."""
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ...atomic_files import replacing
from .looks import LOOKS
from .renderer import check_size, render_scene

MANIFEST = 'street_set.json'
"""Name of the file in the output folder that records the parameters and whether the set is complete."""

_REVISION = 1
_SPLITS = ('train', 'val')
_REPORT_EVERY = 3.0
_PNG_END = b'IEND\xaeB`\x82'


@dataclass(frozen=True)
class StreetCounts:
    """Numbers of images; the labels of the target's training images are for the oracle only."""

    source_train: int = 400
    source_val: int = 50
    target_train: int = 400
    target_val: int = 100


@dataclass(frozen=True)
class _Frame:
    """One image of the set."""

    domain: str
    split: str
    index: int

    def paths(self, root: Path) -> tuple[Path, Path]:
        """Files of the image and its label."""
        stem = f'street_{self.index:06d}_000000'
        folder = root / self.domain
        return (folder / 'leftImg8bit' / self.split / 'street' / f'{stem}_leftImg8bit.png',
                folder / 'gtFine' / self.split / 'street' / f'{stem}_gtFine_labelTrainIds.png')

    def seed(self, base: int) -> int:
        """Seed of the scene, a function of the set's seed and the frame alone."""
        key = [base, _SPLITS.index(self.split), self.index]
        return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])


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
    root, begin = Path(out_dir), time.monotonic()
    _check_arguments(counts, size, seed, nproc)
    parameters = _parameters(counts, size, seed)
    _check_manifest(root, parameters)
    frames = list(_frames(counts))
    missing = [frame for frame in frames if not all(map(_is_whole, frame.paths(root)))]
    _make_folders(root, frames)
    _write_manifest(root, parameters, complete=not missing)
    if missing:
        report(f'street set: {len(missing)} of {len(frames)} images to render into {root}')
        _render_all(missing, partial(_render_frame, root=root, size=size, seed=seed), nproc, report)
        _write_manifest(root, parameters, complete=True)
    report(f'street set: complete, {len(frames)} images in {root} ({time.monotonic() - begin:.0f} s)')
    return len(missing)


def _frames(counts: StreetCounts) -> Iterator[_Frame]:
    for domain in LOOKS:
        for split in _SPLITS:
            for index in range(getattr(counts, f'{domain}_{split}')):
                yield _Frame(domain, split, index)


def _is_whole(path: Path) -> bool:
    """Whether a PNG file is there and ends as one must; a crash of the machine can leave a cut one."""
    if not path.is_file():
        return False
    with path.open('rb') as file:
        file.seek(max(0, path.stat().st_size - len(_PNG_END)))
        return file.read() == _PNG_END


def _check_arguments(counts: StreetCounts, size: tuple[int, int], seed: int, nproc: int) -> None:
    check_size(size)
    if nproc < 1:
        raise ValueError(f'nproc = {nproc}: the number of processes must be at least 1.')
    if seed < 0:
        raise ValueError(f'seed = {seed}: the seed must not be negative.')
    negative = {name: count for name, count in asdict(counts).items() if count < 0}
    if negative:
        raise ValueError(f'Numbers of images must not be negative: {negative}.')


def _parameters(counts: StreetCounts, size: tuple[int, int], seed: int) -> dict:
    looks = hashlib.blake2b(repr(dict(LOOKS)).encode(), digest_size=8).hexdigest()
    return dict(revision=_REVISION, looks=looks, seed=seed, size=list(size), counts=asdict(counts))


def _check_manifest(root: Path, parameters: dict) -> None:
    """Refuses a folder whose set was rendered with other parameters."""
    path = root / MANIFEST
    if not path.is_file():
        return
    try:
        found = json.loads(path.read_text())['parameters']
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f'{path} is not a manifest of the street set. Delete the folder {root}, or render into '
                         f'another one.') from error
    other = sorted(key for key in parameters.keys() | found.keys() if parameters.get(key) != found.get(key))
    if other:
        lines = ', '.join(f'{key}: there {found.get(key)}, asked for {parameters.get(key)}' for key in other)
        raise ValueError(f'{root} holds a street set with other parameters ({lines}). Render into another folder, '
                         f'delete this one, or ask for the same parameters.')


def _write_manifest(root: Path, parameters: dict, complete: bool) -> None:
    text = json.dumps(dict(parameters=parameters, complete=complete), indent=2) + '\n'
    _replace(root / MANIFEST, text.encode())


def _make_folders(root: Path, frames: list[_Frame]) -> None:
    for folder in {path.parent for frame in frames for path in frame.paths(root)} | {root}:
        folder.mkdir(parents=True, exist_ok=True)


def _replace(path: Path, content: bytes) -> None:
    """Writes a file so that it is there complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _render_frame(frame: _Frame, root: Path, size: tuple[int, int], seed: int) -> None:
    image, label = render_scene(frame.domain, frame.seed(seed), size)
    for path, pixels in zip(frame.paths(root), (image, label)):
        _replace(path, cv2.imencode('.png', pixels)[1].tobytes())


def _render_all(frames: list[_Frame], work: Callable[[_Frame], None], nproc: int,
                report: Callable[[str], None]) -> None:
    """Runs ``work`` on all frames and reports the remaining time."""
    begin = last = time.monotonic()
    for done, _ in enumerate(_map(frames, work, nproc), start=1):
        now = time.monotonic()
        if now - last >= _REPORT_EVERY:
            last = now
            left = (now - begin) / done * (len(frames) - done)
            report(f'street set: {done}/{len(frames)} images, {now - begin:.0f} s, about {left:.0f} s left')


def _map(frames: list[_Frame], work: Callable[[_Frame], None], nproc: int) -> Iterator[None]:
    if nproc == 1:
        yield from map(work, frames)
        return
    # Set before the processes start: changed in a forked one, OpenCV waits for threads that only its parent has.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ProcessPoolExecutor(nproc) as pool:
            yield from pool.map(work, frames, chunksize=4)
    finally:
        cv2.setNumThreads(threads)
