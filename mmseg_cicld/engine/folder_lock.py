"""One launch at a time in a folder, by a lock that ends with its process, however that ends."""
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .checkpoint_reading import CheckpointError

LOCK = 'running.lock'
# Which environment variable numbers the processes of a launch.
RANK_VARIABLES = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')


@contextmanager
def locked_folder(folder: str | Path, launcher: str = 'none') -> Iterator[None]:
    """Holds a folder while the block runs.

    The processes of one launch are one owner: the first of them holds the lock, and if it is refused, its launcher
    ends the others. Processes that it forks, such as workers of data loaders, do not hold it. The file that is locked
    stays where it is, since a file that is removed can be locked twice.

    Args:
        folder: The folder; it is made if it is missing.
        launcher: How the processes were started, as ``launcher`` of a config.

    Raises:
        CheckpointError: If another process holds the folder, or its file system has no locks.
    """
    if int(os.environ.get(RANK_VARIABLES.get(launcher, ''), 0)):
        yield
        return
    file = Path(folder) / LOCK
    with _opened(file) as stream:
        _lock(file, stream.fileno())
        _sign(file, stream)
        yield  # closing the file unlocks it


def _opened(file: Path) -> BinaryIO:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.open('ab', buffering=0)  # what a full disk has refused is not tried again when it is closed
    except OSError as error:
        raise CheckpointError(file, f'cannot be written ({error.strerror}): give another folder') from error


def _sign(file: Path, stream: BinaryIO) -> None:
    try:
        stream.truncate(0)
        stream.write(f'process {os.getpid()} on {socket.gethostname()}'.encode())
    except OSError as error:
        raise CheckpointError(file, f'cannot be written ({error.strerror}): make room, or give another folder') from error


def _lock(file: Path, descriptor: int) -> None:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise CheckpointError(file, f'cannot be locked ({error.strerror}): give a folder on another file '
                                        'system') from error
        raise CheckpointError(file, f'is held by {file.read_text() or "another process"}, which works in this folder: '
                                    'wait for it or stop it, or give another folder') from None
