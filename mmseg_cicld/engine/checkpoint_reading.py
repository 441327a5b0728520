"""Reads checkpoints without executing anything in them, and says in one line what is wrong with a file."""
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

_UNSAFE_FLAG = 'allow_unsafe_checkpoints=True in the config (--allow-unsafe-checkpoint of our tools)'


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, read or used; the message names the file and the reason in one line.

    Args:
        path: The file, or the part of a checkpoint.
        reason: What is wrong and what to do about it.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f'{path}: {reason}')
        self.reason = reason


class UnreadableCheckpointError(CheckpointError):
    """A checkpoint is not what was written: it is missing, empty, cut short or changed."""


def read_checkpoint(path: str | Path, map_location: str | torch.device = 'cpu', allow_unsafe: bool = False,
                    mmap: bool = False) -> dict:
    """Reads a checkpoint of ours, of mmengine, or a plain state dict.

    Nothing in the file is executed. Log histories of mmengine, which are objects, are read as empty stand-ins.

    Args:
        path: The file.
        map_location: Device of the tensors.
        allow_unsafe: Reads with an ordinary unpickler, which runs whatever code the file holds.
        mmap: Leaves tensors on the disk until they are used; enough to look at the rest.

    Returns:
        The content, always a dict.

    Raises:
        CheckpointError: If the file is not a checkpoint, or holds objects.
        UnreadableCheckpointError: If the file is missing, empty, cut short or changed.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UnreadableCheckpointError(path, 'there is no such file')
    zipped = _check_bytes(path)
    try:
        with torch.serialization.safe_globals(_foreign_globals()):
            content = torch.load(path, map_location=map_location, weights_only=not allow_unsafe, mmap=mmap and zipped)
    except pickle.UnpicklingError as error:
        raise _refusal(path, error) from None
    except Exception as error:  # torch raises a different type for each way in which a file can be broken
        raise UnreadableCheckpointError(path, f'is damaged ({type(error).__name__}: {_first_line(error)})') from None
    if not isinstance(content, dict):
        raise CheckpointError(path, f'holds a {type(content).__name__} instead of a checkpoint')
    return content


def _check_bytes(path: Path) -> bool:
    """Compares the checksums of the file, since torch does not; returns whether it has any (torch >= 1.6)."""
    if not path.stat().st_size:
        raise UnreadableCheckpointError(path, 'is empty (0 bytes)')
    with path.open('rb') as stream:
        if stream.read(2) != b'PK':
            return False
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except Exception as error:  # zipfile raises a different type for each way in which a file can be broken
        raise UnreadableCheckpointError(path, f'is cut short or damaged ({_first_line(error)})') from None
    if broken is not None:
        raise UnreadableCheckpointError(path, f'is damaged (wrong checksum of {broken})')
    return True


def _refusal(path: Path, error: pickle.UnpicklingError) -> CheckpointError:
    named = re.search(r'GLOBAL (\S+)', str(error))
    if named is None:
        # Not torch's own text, which recommends to read without protection.
        return UnreadableCheckpointError(path, 'is not a checkpoint of torch, or damaged; nothing in it was executed')
    return CheckpointError(path, f'holds an object ({named.group(1)}), and reading it could run code. If you trust the '
                                 f'file: {_UNSAFE_FLAG}')


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


class _LogHistory:
    """Stands in for mmengine's HistoryBuffer in files of other tools: takes any state and keeps none."""

    def __setstate__(self, state: Any) -> None:
        pass


def _log_statistic(owner: type, name: str) -> None:
    """Stands in for ``getattr``, which pickle needs to name the methods that mmengine stores in a HistoryBuffer."""
    if owner is not _LogHistory:
        raise pickle.UnpicklingError('Unsupported global: GLOBAL builtins.getattr')


def _foreign_globals() -> list[tuple[Any, str]]:
    """What checkpoints of mmengine hold beside tensors: log histories and NumPy numbers and arrays."""
    from numpy._core import multiarray
    allowed = [(_LogHistory, 'mmengine.logging.history_buffer.HistoryBuffer'), (_log_statistic, 'builtins.getattr'),
               (np.ndarray, 'numpy.ndarray'), (np.dtype, 'numpy.dtype')]
    for core in ('numpy._core', 'numpy.core'):
        allowed += [(multiarray._reconstruct, f'{core}.multiarray._reconstruct'),
                    (multiarray.scalar, f'{core}.multiarray.scalar')]
    kinds = {type(np.dtype(code)) for code in '?bhilqBHILQefdg'}
    return allowed + [(kind, f'numpy.dtypes.{kind.__name__}') for kind in kinds]
