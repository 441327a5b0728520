"""Writes sets of rendered images and labels, in parallel, and continues where it was stopped."""
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ..atomic_files import replacing

SPLITS = ('train', 'val')
"""Names of the splits; a domain has one folder for each."""

_REPORT_EVERY = 3.0
_PNG_END = b'IEND\xaeB`\x82'


@dataclass(frozen=True)
class Frame:
    """One image of a set; ``split`` is 'train' or 'val'."""

    domain: str
    split: str
    index: int

    def seed(self, base: int) -> int:
        """Seed of the scene, a function of the set's seed and the place in the split alone."""
        key = [base, SPLITS.index(self.split), self.index]
        return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])


Render = Callable[[Frame], tuple[np.ndarray, np.ndarray]]
"""Gives image and label, both uint8; the same in every process."""

Paths = Callable[[Frame], tuple[str, str]]
"""Gives the files of the image and its label, relative to the set's folder."""


def list_frames(counts: Mapping[str, int]) -> list[Frame]:
    """Lists the images of a set.

    Args:
        counts: Numbers of images by names such as 'source_train'.

    Raises:
        ValueError: If a number is negative.
    """
    negative = {name: count for name, count in counts.items() if count < 0}
    if negative:
        raise ValueError(f'Numbers of images must not be negative: {negative}.')
    frames = []
    for name, count in counts.items():
        domain, split = name.split('_')
        frames += [Frame(domain, split, index) for index in range(count)]
    return frames


def check_numbers(seed: int, nproc: int) -> None:
    """Refuses a negative seed and fewer than one process with a ValueError."""
    if nproc < 1:
        raise ValueError(f'nproc = {nproc}: the number of processes must be at least 1.')
    if seed < 0:
        raise ValueError(f'seed = {seed}: the seed must not be negative.')


@dataclass(frozen=True)
class Manifest:
    """The file in a set's folder that records its parameters and whether it is complete.

    Args:
        path: The file.
        title: What such a set is called in messages, such as 'street set'.
        parameters: All that the files depend on; plain values as JSON has them.
    """

    path: Path
    title: str
    parameters: Mapping

    def check(self) -> None:
        """Refuses a folder whose set was rendered with other parameters.

        Raises:
            ValueError: If the file is there and records other parameters, or is no manifest.
        """
        if not self.path.is_file():
            return
        root = self.path.parent
        try:
            found = json.loads(self.path.read_text())['parameters']
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f'{self.path} is not a manifest of the {self.title}. Delete the folder {root}, or render '
                             f'into another one.') from error
        keys = self.parameters.keys() | found.keys()
        other = sorted(key for key in keys if self.parameters.get(key) != found.get(key))
        if other:
            lines = ', '.join(f'{key}: there {found.get(key)}, asked for {self.parameters.get(key)}' for key in other)
            raise ValueError(f'{root} holds a {self.title} with other parameters ({lines}). Render into another folder, '
                             f'delete this one, or ask for the same parameters.')

    def write(self, complete: bool) -> None:
        """Writes the file whole or not at all."""
        text = json.dumps(dict(parameters=self.parameters, complete=complete), indent=2) + '\n'
        replace_file(self.path, text.encode())


def render_missing(manifest: Manifest, frames: Sequence[Frame], paths: Paths, render: Render, nproc: int,
                   report: Callable[[str], None]) -> int:
    """Renders those images of a set that are not there whole.

    Args:
        manifest: Names the set and its folder.
        frames: All images of the set.
        paths: Where the files of an image are.
        render: Paints an image.
        nproc: Number of processes, at least 1.
        report: Receives a line of progress every few seconds.

    Returns:
        Number of images that were rendered, 0 if the set was complete.

    Raises:
        ValueError: If the folder holds a set with other parameters.
    """
    begin, root, title = time.monotonic(), manifest.path.parent, manifest.title
    manifest.check()
    missing = [frame for frame in frames if not all(_is_whole(root / path) for path in paths(frame))]
    for folder in {(root / path).parent for frame in frames for path in paths(frame)} | {root}:
        folder.mkdir(parents=True, exist_ok=True)
    manifest.write(complete=not missing)
    if missing:
        report(f'{title}: {len(missing)} of {len(frames)} images to render into {root}')
        work = partial(_render_frame, root=root, paths=paths, render=render)
        _render_all(missing, work, nproc, partial(_progress, title, report))
        manifest.write(complete=True)
    report(f'{title}: complete, {len(frames)} images in {root} ({time.monotonic() - begin:.0f} s)')
    return len(missing)


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file so that it is there complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _is_whole(path: Path) -> bool:
    """Whether a PNG file is there and ends as one must; a crash of the machine can leave a cut one."""
    if not path.is_file():
        return False
    with path.open('rb') as file:
        file.seek(max(0, path.stat().st_size - len(_PNG_END)))
        return file.read() == _PNG_END


def _render_frame(frame: Frame, root: Path, paths: Paths, render: Render) -> None:
    for path, pixels in zip(paths(frame), render(frame)):
        replace_file(root / path, cv2.imencode('.png', pixels)[1].tobytes())


def _progress(title: str, report: Callable[[str], None], done: int, count: int, seconds: float) -> None:
    left = seconds / done * (count - done)
    report(f'{title}: {done}/{count} images, {seconds:.0f} s, about {left:.0f} s left')


def _render_all(frames: Sequence[Frame], work: Callable[[Frame], None], nproc: int,
                progress: Callable[[int, int, float], None]) -> None:
    """Runs ``work`` on all frames; says now and then how many are done, of how many, after how many seconds."""
    begin = last = time.monotonic()
    for done, _ in enumerate(_map(frames, work, nproc), start=1):
        now = time.monotonic()
        if now - last >= _REPORT_EVERY:
            last = now
            progress(done, len(frames), now - begin)


def _map(frames: Sequence[Frame], work: Callable[[Frame], None], nproc: int) -> Iterator[None]:
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
