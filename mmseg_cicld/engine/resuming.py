"""Decides whether a checkpoint can be continued from, and which one."""
from collections.abc import Mapping
from pathlib import Path

from mmengine.logging import MMLogger
from torch import Tensor, nn

from .checkpoint_hook import POINTER
from .checkpoint_reading import CheckpointError, UnreadableCheckpointError, read_checkpoint

_PARTS = ('meta', 'state_dict', 'message_hub', 'optimizer')
_META = ('iter', 'epoch', 'seed', 'total_batch_size')


def newest_valid_checkpoint(work_dir: str | Path, logger: MMLogger) -> str | None:
    """Finds the checkpoint to continue from; says in one line if it is not the newest one.

    Args:
        work_dir: Folder with ``last_checkpoint`` and ``iter_*.pth`` or ``epoch_*.pth``.
        logger: Where unreadable files are reported.

    Returns:
        A path, or None if there is no checkpoint at all.

    Raises:
        CheckpointError: If there are checkpoints, but none can be read.
    """
    unreadable = []
    for path in _candidates(Path(work_dir)):
        try:
            read_checkpoint(path, allow_unsafe=False, mmap=True)
        except UnreadableCheckpointError as error:
            unreadable.append(error)
            continue
        except CheckpointError:
            pass  # Whole, but not usable as it is: the resume gives the reason.
        if unreadable:
            logger.warning(f'{"; ".join(map(str, unreadable))}; resuming from {path} instead')
        return str(path)
    if unreadable:
        raise CheckpointError(work_dir, f'none of the checkpoints can be read: {"; ".join(map(str, unreadable))}. '
                                        'To start anew, delete these files or set another work_dir')
    return None


def _candidates(work_dir: Path) -> list[Path]:
    """Lists what the pointer names, then the other checkpoints, the last written first."""
    pointed = []
    if (work_dir / POINTER).is_file():
        path = Path((work_dir / POINTER).read_text(errors='replace').strip())
        # The folder may have been moved or copied since; checkpoints may also lie outside it (out_dir of the hook).
        pointed = [path if path.is_file() and not (work_dir / path.name).is_file() else work_dir / path.name]
    folders = {work_dir, *(path.parent for path in pointed)}
    others = {path for folder in folders for pattern in ('iter_*.pth', 'epoch_*.pth') for path in folder.glob(pattern)}
    return pointed + sorted(others.difference(pointed), key=lambda path: path.stat().st_mtime_ns, reverse=True)


def check_parts(checkpoint: Mapping, path: str | Path, with_schedulers: bool) -> None:
    """Raises CheckpointError if a checkpoint lacks a part that an exact resume needs."""
    parts = _PARTS + (('param_schedulers', ) if with_schedulers else ())
    missing = [part for part in parts if part not in checkpoint]
    meta = checkpoint.get('meta', {})
    missing += [f'meta.{key}' for key in _META if 'meta' not in missing and key not in meta]
    hub = checkpoint.get('message_hub', {})
    missing += [f'message_hub.{key}' for key in ('log_scalars', 'runtime_info', 'resumed_keys')
                if 'message_hub' not in missing and key not in hub]
    if missing:
        raise CheckpointError(path, f'cannot be resumed, it lacks {", ".join(missing)}. To start a new training '
                                    'from its weights, set load_from instead of resume')


def check_run(meta: Mapping, path: str | Path, seed: int | None, total_batch_size: int) -> None:
    """Raises CheckpointError if a run with another seed or batch size is to continue; it would not be the same run.

    Args:
        meta: ``meta`` of the checkpoint.
        path: Its file.
        seed: ``randomness.seed`` of the config, None if it gives none.
        total_batch_size: Source images in one iteration of all processes now.
    """
    if seed is not None and seed != meta['seed']:
        raise CheckpointError(path, f'was trained with randomness.seed={meta["seed"]}, the config says {seed}: set '
                                    f'{meta["seed"]} to resume, or load_from to start a new training from its weights')
    if total_batch_size != meta['total_batch_size']:
        raise CheckpointError(path, f'was trained with {meta["total_batch_size"]} images an iteration (all processes), '
                                    f'now there are {total_batch_size}: change train_dataloader.batch_size or the '
                                    'number of processes')


def check_keys(saved: Mapping, own: Mapping, path: str | Path, part: str) -> None:
    """Raises CheckpointError if a saved state has other entries than that of the object that is to take it."""
    if set(saved) != set(own):
        missing, unknown = sorted(map(str, set(own) - set(saved))), sorted(map(str, set(saved) - set(own)))
        raise CheckpointError(path, f'{part} does not fit this config: it lacks {missing}, and {unknown} have no place')


def check_weights(state: Mapping[str, Tensor], model: nn.Module, path: str | Path, complete: bool) -> None:
    """Compares names and shapes of weights with a model.

    Args:
        state: The weights.
        model: The model that is to take them.
        path: Their file.
        complete: Whether every weight of the model has to be there and no other; otherwise one is enough.

    Raises:
        CheckpointError: If a shape differs, if nothing fits, or if ``complete`` is asked for and not so.
    """
    own = model.state_dict()
    missing, unknown = [name for name in own if name not in state], [name for name in state if name not in own]
    shapes = [f'{name} {list(state[name].shape)} instead of {list(own[name].shape)}' for name in own
              if name in state and state[name].shape != own[name].shape]
    if shapes or len(missing) == len(own) or (complete and (missing or unknown)):
        raise CheckpointError(
            path, f'does not fit the {type(model).__name__} of this config: {some(missing)} missing, {some(unknown)} '
                  f'unknown, {some(shapes)} of another shape (another method, network or number of classes?)')


def some(names: list[str]) -> str:
    """Counts names and shows the first two."""
    return f'{len(names)} ({", ".join(names[:2])}{", ..." if len(names) > 2 else ""})' if names else '0'
