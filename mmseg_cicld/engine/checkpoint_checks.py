"""What is looked at on all processes before a checkpoint is written: finite weights, and state that is the same."""
import hashlib
from collections.abc import Iterable, Mapping

import torch
from mmengine.dist import all_gather_object
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from ..sharded_tensors import is_part, local_part
from .checkpoint_reading import CheckpointError


def endless_buffers(model: nn.Module) -> frozenset[str]:
    """Returns the names of buffers that are not finite by design, such as masks of attention."""
    return frozenset(_not_finite(dict(model.named_buffers())))


def refuse_not_finite(runner: Runner, path: str, allowed: frozenset[str], everywhere: bool = True) -> None:
    """Refuses to write weights, statistics or optimiser state that hold NaN or infinity.

    A step whose losses and gradients are finite may still overflow, and statistics of batch norms are no losses.

    Args:
        runner: Its model and optimiser are looked at.
        path: What is to be written.
        allowed: Buffers that may be so, see :func:`endless_buffers`.
        everywhere: Whether all processes call this, so that all stop if one has to.

    Raises:
        CheckpointError: On all processes, with the names of the first that has such values.
    """
    found = _not_finite(_state(bare_model(runner), runner.optim_wrapper.optimizer))
    found = [name for name in found if name not in allowed]
    ranks = all_gather_object(found) if everywhere else [found]
    for rank, names in enumerate(ranks):
        if names:
            where = f' on rank {rank}' if len(ranks) > 1 else ''
            raise CheckpointError(path, f'is not written: NaN or infinity in {", ".join(names[:2])} ({len(names)} '
                                        f'tensors){where}. Earlier checkpoints are untouched: lower '
                                        'optim_wrapper.optimizer.lr, then continue with --resume')


def differing_state(model: nn.Module) -> list[str]:
    """Compares the state of objectives on all processes; a checkpoint holds that of the first alone.

    Statistics of batch norms are left out: each process has those of its own images, and no training reads them.

    Args:
        model: Not wrapped; what has no ``objectives`` has no such state. To be called by all processes.

    Returns:
        ``objective: key`` for each entry that differs.
    """
    digests = {f'{objective.name}: {key}': _digest(value) for objective in getattr(model, 'objectives', ())
               for key, value in _own_state(objective).items()}
    ranks = all_gather_object(digests)
    names = dict.fromkeys(name for rank in ranks for name in rank)
    return [name for name in names if len({rank.get(name) for rank in ranks}) > 1]


def bare_model(runner: Runner) -> nn.Module:
    """Returns the model without its wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _state(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    state = {name: local_part(value) for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    for parameter, entries in optimizer.state.items():
        state |= {f'{key} of {names.get(id(parameter), "a parameter")}': local_part(value) for key, value in entries.items()
                  if isinstance(value, Tensor)}
    return state


def _not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    names = [name for name, value in tensors.items() if value.is_floating_point() and value.numel()]
    # One transfer for all of a device, not one for each tensor.
    flags: dict[str, bool] = {}
    for device in {tensors[name].device for name in names}:
        there = [name for name in names if tensors[name].device == device]
        flags |= dict(zip(there, torch.stack([torch.isfinite(tensors[name]).all() for name in there]).tolist()))
    return [name for name in names if not flags[name]]


def _own_state(objective: nn.Module) -> dict[str, Tensor | object]:
    norms = [f'{name}.' for name, module in objective.named_modules() if isinstance(module, _BatchNorm)]
    return {key: value for key, value in objective.state_dict().items()
            if not _begins_with(key, norms) and not is_part(value)}  # each process has its part of those


def _begins_with(key: str, beginnings: Iterable[str]) -> bool:
    return any(key.startswith(beginning) for beginning in beginnings)


def _digest(value: object) -> str:
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        return hashlib.blake2b(value.reshape(-1).view(torch.uint8).numpy().tobytes(), digest_size=8).hexdigest()
    return repr(value)  # what an objective gives as get_extra_state
