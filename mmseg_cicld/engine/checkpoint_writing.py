"""Writes checkpoints that hold plain data only and that are either whole or not there."""
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from ..atomic_files import write_synced
from ..mmengine_internals import set_versions, versions
from .checkpoint_reading import CheckpointError

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def write_checkpoint(checkpoint: Mapping, path: str | Path) -> None:
    """Writes a checkpoint that ``torch.load(weights_only=True)`` reads without an allow-list.

    A kill, a full disk or an object that cannot be saved leaves what was at ``path`` before.

    Args:
        checkpoint: Nested dicts, lists and tuples of tensors, arrays, numbers and strings; mmengine's history buffers
            become a dict of two tensors, see :func:`restore_histories`.
        path: The file to write.

    Raises:
        CheckpointError: If something in ``checkpoint`` is not such data, or if the file cannot be written.
    """
    plain = to_plain(checkpoint, where=Path(path).name)
    write_atomically(path, lambda stream: _save(plain, stream))


def write_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file of a training as :func:`write_synced` does.

    Args:
        path: The file to write; its folder is made if it is missing.
        write: Writes the content to the binary stream that it is given.

    Raises:
        CheckpointError: If the folder or the file cannot be written.
    """
    try:
        write_synced(path, write)
    except OSError as error:
        raise CheckpointError(path, f'cannot be written ({error.strerror}); earlier checkpoints are untouched. Make '
                                    'room or set another work_dir, then continue with --resume') from error


def to_plain(value: Any, where: str) -> Any:
    """Turns a value into tensors, numbers, strings, lists, tuples and dicts.

    Args:
        value: What is to be saved.
        where: Name of the value for the error message.

    Raises:
        CheckpointError: If the value is or holds something else.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in _PLAIN:
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biuf':
        return torch.from_numpy(value.copy())
    if isinstance(value, HistoryBuffer):
        return {'history': to_plain(value.data[0], where), 'counts': to_plain(value.data[1], where)}
    if isinstance(value, Mapping):
        return _plain_mapping(value, where)
    if isinstance(value, (list, tuple)):
        kind = list if isinstance(value, list) else tuple
        return kind(to_plain(item, f'{where}[{i}]') for i, item in enumerate(value))
    if isinstance(value, (str, Path)):
        return str(value)
    raise CheckpointError(where, f'is a {type(value).__module__}.{type(value).__qualname__}, which cannot be saved: a '
                                 'checkpoint holds tensors, numbers, strings, lists and dicts only')


def on_cpu(state: OrderedDict) -> OrderedDict:
    """Moves a state dict to the CPU; what two names share (student and teacher) stays one tensor, also in the file."""
    moved: dict[tuple, torch.Tensor] = {}
    for name, value in state.items():
        if isinstance(value, torch.Tensor) and value.numel():
            place = (value.device, value.data_ptr(), value.dtype, value.shape, value.stride())
            if place not in moved:
                moved[place] = value.detach().cpu()
            state[name] = moved[place]
    return state


def restore_histories(message_hub: Mapping) -> dict:
    """Returns the saved state of mmengine's message hub with its history buffers rebuilt."""
    scalars = {name: HistoryBuffer(saved['history'].numpy(), saved['counts'].numpy())
               for name, saved in message_hub['log_scalars'].items()}
    return dict(message_hub, log_scalars=scalars)


def _plain_mapping(value: Mapping, where: str) -> dict:
    items = {to_plain(key, where): to_plain(item, f'{where}: {key}') for key, item in value.items()}
    if not versions(value):
        return items
    # The state dict of a module carries the versions of its layers beside the tensors.
    state = OrderedDict(items)
    set_versions(state, versions(value))
    return state


class _PatientStream:
    """Swallows the first error of a stream and keeps it: torch's writer cannot stop halfway in an orderly manner."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                self._stream.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """Part of what torch asks of a stream; the owner of the file flushes it."""


def _save(plain: dict, stream: BinaryIO) -> None:
    patient = _PatientStream(stream)
    torch.save(plain, patient)
    if patient.error is not None:
        raise patient.error
