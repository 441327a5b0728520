"""Checkpoints that may lie anywhere, and safe reading of them for code of mmengine and mmseg."""
import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine import fileio
from mmengine.dist import all_gather_object, barrier, is_main_process
from torch.hub import download_url_to_file

from ..downloads import download_path, hash_in_name, resolved_address, sha256_of
from .checkpoint_reading import CheckpointError, read_checkpoint
from .mmengine_internals import replaced_readers

_HTTP = ('http://', 'https://')


def fetch_checkpoint(address: str | Path, map_location: str | torch.device = 'cpu', allow_unsafe: bool = False) -> dict:
    """Reads a checkpoint; nothing in it is executed, see :func:`read_checkpoint`. All processes call this.

    Args:
        address: A path, an ``http(s)://`` address, a name ``open-mmlab://...``, or what mmengine's file backends reach
            (``s3://``, ``petrel://``).
        map_location: Device of the tensors.
        allow_unsafe: See :func:`read_checkpoint`.

    Raises:
        CheckpointError: If it cannot be reached, is not what its name says, or cannot be read.
    """
    try:
        found = resolved_address(str(address))
        if found.startswith(_HTTP):
            return read_checkpoint(_downloaded(found), map_location, allow_unsafe)
        if '://' not in found:
            return read_checkpoint(found, map_location, allow_unsafe)
        with fileio.get_local_path(found) as path:
            return read_checkpoint(path, map_location, allow_unsafe)
    except (OSError, ValueError, KeyError, ImportError, AssertionError) as error:
        raise CheckpointError(address, f'cannot be fetched ({_first_line(error)}): give a path, an address http(s)://, '
                                       'a name open-mmlab://, or what a file backend of mmengine reaches') from error


@contextmanager
def safe_loading(allow_unsafe: bool = False) -> Iterator[None]:
    """Lets mmengine and mmseg (``init_model``, ``Pretrained``) read as :func:`fetch_checkpoint` does, for a while.

    To import this package does not change how they read.

    Args:
        allow_unsafe: See :func:`read_checkpoint`.
    """
    def load_from_anywhere(address: str, map_location: str | torch.device | None = None) -> dict:
        return fetch_checkpoint(address, map_location or 'cpu', allow_unsafe)

    with replaced_readers(load_from_anywhere, load_from_anywhere):
        yield


def _downloaded(address: str) -> Path:
    """Downloads a file unless it is there: the first process for all on its file system, then the others."""
    path, problem = download_path(address), None
    for turn in (is_main_process(), not is_main_process()):
        problem = _problem_of_download(address, path) if turn else problem
        barrier()
    # All stop together: one that went on would wait for the others for ever.
    for each in all_gather_object(problem):
        if each is not None:
            raise CheckpointError(*each)
    return path


def _problem_of_download(address: str, path: Path) -> tuple[str | Path, str] | None:
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            download_url_to_file(address, str(path), progress=False)
    except (OSError, RuntimeError, ValueError, http.client.HTTPException) as error:
        return address, (f'cannot be fetched ({type(error).__name__}: {_first_line(error)}): correct the address or '
                         'the connection, or fetch the file by other means and give its path')
    expected = hash_in_name(path.name)
    if expected and not sha256_of(path).startswith(expected):
        return path, f'has SHA-256 {sha256_of(path)}, its name says {expected}: delete the file to fetch it again'
    return None


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
