"""Files that are there whole or not at all, however the program that writes them ends."""
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

LEFTOVERS = '.*.tmp'
"""What a killed program may leave beside the files that it was writing, as a pattern of :meth:`pathlib.Path.glob`."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives another name in the same folder; what is there when the block ends well appears as ``path``.

    The name is this process's own: two programs that write the same file do not write into each other's.

    Args:
        path: The file; its folder is made if it is missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_synced(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file that survives a power cut once this has returned; until then what was there before stays.

    Args:
        path: The file; its folder is made if it is missing.
        write: Writes the content to the binary stream that it is given.
    """
    with replacing(path) as temporary, temporary.open('wb') as stream:
        write(stream)
        stream.flush()
        os.fsync(stream.fileno())
    _sync_folder(Path(path).parent)


def remove_leftovers(folder: str | Path) -> None:
    """Removes what killed programs were writing in a folder; for the one that holds the folder."""
    for path in Path(folder).glob(LEFTOVERS):
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == 'nt':  # which has no descriptors of folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
