"""One launch at a time in a folder, by a lock that ends with its process, however that ends."""
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from mmengine.dist import broadcast_object_list, is_main_process

from .checkpoint_reading import CheckpointError

LOCK, OWNER = 'running.lock', 'running.txt'
# Which environment variable numbers the processes of a launch.
RANK_VARIABLES = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')


@contextmanager
def locked_folder(folder: str | Path, launcher: str = 'none', lock: str = LOCK) -> Iterator[None]:
    """Holds a folder while the block runs.

    The processes of one launch are one owner: the first of them holds the lock, and if it is refused, its launcher
    ends the others. Processes that it forks, such as workers of data loaders, do not hold it. The file that is locked
    stays where it is, since a file that is removed can be locked twice; who holds it stands beside it, since Windows
    lets nobody read a locked file.

    Args:
        folder: The folder; it is made if it is missing.
        launcher: How the processes were started, as ``launcher`` of a config.
        lock: Name of the file that is locked; several owners with different names may work in one folder.

    Raises:
        CheckpointError: If another process holds the folder, or its file system has no locks.
    """
    if int(os.environ.get(RANK_VARIABLES.get(launcher, ''), 0)):
        yield
        return
    file = Path(folder) / lock
    owner = file.with_suffix(Path(OWNER).suffix)
    held = _acquired(file, owner)
    try:
        _sign(owner)
        yield
    finally:
        owner.unlink(missing_ok=True)
        held.release()


@contextmanager
def folder_locked_for_all(folder: str | Path) -> Iterator[None]:
    """Holds a folder while the block runs, for processes that can talk to each other: if it is refused, all are told.

    Args:
        folder: See :func:`locked_folder`.

    Raises:
        CheckpointError: On all processes, if another one holds the folder, or its file system has no locks.
    """
    problem: list[str | None] = [None]
    with ExitStack() as stack:
        if is_main_process():
            try:
                stack.enter_context(locked_folder(folder))
            except CheckpointError as error:
                problem = [error.reason]
        broadcast_object_list(problem)
        if problem[0] is not None:
            raise CheckpointError(Path(folder) / LOCK, problem[0])
        yield


def _acquired(file: Path, owner: Path) -> FileLock:
    # A lock that falls back to the mere existence of a file would outlive a killed process.
    lock = FileLock(file, timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise CheckpointError(file, f'is held by {_read(owner) or "another process"}, which works in this folder: '
                                    'wait for it or stop it, or give another folder') from None
    except NotImplementedError as error:
        raise CheckpointError(file, 'cannot be locked (its file system has no locks): give a folder on another file '
                                    'system') from error
    except OSError as error:
        raise CheckpointError(file, f'cannot be written or locked ({error.strerror}): give another folder') from error
    return lock


def _read(owner: Path) -> str:
    return owner.read_text() if owner.is_file() else ''


def _sign(owner: Path) -> None:
    try:
        owner.write_text(f'process {os.getpid()} on {socket.gethostname()}')
    except OSError as error:
        raise CheckpointError(owner, f'cannot be written ({error.strerror}): make room, or give another '
                                     'folder') from error
