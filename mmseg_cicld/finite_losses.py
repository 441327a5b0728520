"""Losses are read by the host once a step; what is not finite ends the training before anything learns from it."""
from collections.abc import Iterable, Mapping, Sequence

import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.optim import OptimWrapper
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from .sharded_tensors import local_part


class NonFiniteLossError(RuntimeError):
    """A loss or a gradient is NaN or infinite on some process; nothing has been updated from it on any."""


def read_finite(log: Mapping[str, Tensor], iteration: int, files: Iterable[str], model: nn.Module,
                optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
    """Brings all values to the host in one transfer and refuses what is not finite, on all processes together.

    To be called after the backward passes and before the optimiser steps, by all processes. What is not finite on one
    of them is not finite on all, once their gradients are reduced: so all stop, and all say where it began.

    Args:
        log: Scalars by name.
        iteration: Number of the iteration that gave them, from 1 on.
        files: The images of the step, for the message.
        model: Names the parameters.
        optim_wrapper: Holds the parameters whose gradients are looked at. Under a loss scaler they are not: it looks
            at them itself and skips the step.

    Returns:
        The same values, float64 on the CPU.

    Raises:
        NonFiniteLossError: If a loss or a gradient is NaN or infinite.
    """
    losses = torch.stack([value.detach().double() for value in log.values()])
    gradients = [] if _scales_losses(optim_wrapper) else _gradients(optim_wrapper)
    # The sum of squares of finite gradients may be infinite; that is told apart where it happens.
    sizes = torch.nn.utils.get_total_norm(gradients).double() if gradients else losses.new_zeros(())
    broken = (~torch.isfinite(torch.cat([losses, sizes.to(losses.device)[None]])).all()).double()
    all_reduce(broken, 'max')
    *values, somewhere = torch.cat([losses, broken[None]]).cpu().unbind()
    read = dict(zip(log, values))
    if somewhere:
        _refuse(read, iteration, files, _broken_gradients(model) if gradients else [])
    return read


def image_files(data_samples: Sequence[SegDataSample]) -> tuple[str, ...]:
    """Returns the files that samples come from."""
    return tuple(str(sample.metainfo.get('img_path', 'an image without img_path')) for sample in data_samples)


def _scales_losses(optim_wrapper: OptimWrapper) -> bool:
    scaler = getattr(optim_wrapper, 'loss_scaler', None)
    return scaler is not None and scaler.is_enabled()


def _gradients(optim_wrapper: OptimWrapper) -> list[Tensor]:
    return [local_part(parameter.grad) for group in optim_wrapper.param_groups for parameter in group['params']
            if parameter.grad is not None]


def _broken_gradients(model: nn.Module) -> list[str]:
    names = [name for name, parameter in model.named_parameters()
             if parameter.grad is not None and not torch.isfinite(local_part(parameter.grad)).all()]
    more = f' and {len(names) - 1} other parameters' if len(names) > 1 else ''
    return [f'the gradient of {names[0]}{more} is not finite'] if names else []


def _refuse(read: Mapping[str, Tensor], iteration: int, files: Iterable[str], gradients: list[str]) -> None:
    """Raises one message on all processes: losses if any are broken, since their gradients follow from them."""
    losses = [f'{name}={float(value)}' for name, value in read.items() if not torch.isfinite(value)]
    ranks = all_gather_object((losses, gradients, tuple(files)))
    kind = 0 if any(rank[0] for rank in ranks) else 1
    guilty = [number for number, rank in enumerate(ranks) if rank[kind]]
    if not guilty:
        return
    said = '; '.join((f'rank {number}: ' if get_world_size() > 1 else '') + ', '.join(ranks[number][kind])
                     for number in guilty)
    images = ', '.join(file for number in guilty for file in ranks[number][2])
    raise NonFiniteLossError(
        f'iteration {iteration}: {said}. Nothing was updated from it. Images of this step: {images}. Look at these '
        'files (tools/analysis_tools/browse_dataset.py), lower optim_wrapper.optimizer.lr, or train without --amp.')
