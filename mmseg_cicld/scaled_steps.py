"""Optimiser steps under a loss scaler, which skips those whose gradients are not finite: such a step is no update."""
from typing import Any

from mmengine.optim import OptimWrapper
from torch.optim import Optimizer

from .finite_losses import NonFiniteLossError

# Gradients of 2**30 and more, of which float16 holds none: no scale will make them finite.
SMALLEST_SCALE = 2.**-14


def update_parameters(optim_wrapper: OptimWrapper) -> bool:
    """Takes the step that is due, if one is, and forgets the gradients.

    Args:
        optim_wrapper: mmengine's optimiser wrapper, after the backward passes of an iteration.

    Returns:
        Whether parameters were updated: false between two updates of accumulated gradients, and for a step that a
        ``GradScaler`` skips. The host does not wait for the device to know it, except for fused optimisers, with which
        the scaler itself does not.

    Raises:
        NonFiniteLossError: If the scale of a ``GradScaler`` has become so small that the training would skip for ever.
    """
    if not optim_wrapper.should_update():
        return False
    steps: list[bool] = []
    handle = optim_wrapper.optimizer.register_step_post_hook(
        lambda optimizer, args, kwargs: steps.append(not _skips_in_kernel(optimizer)))
    try:
        optim_wrapper.step()
    finally:
        handle.remove()
    optim_wrapper.zero_grad()
    updated = any(steps)
    if not updated and hasattr(optim_wrapper, 'loss_scaler'):
        _check_scale(optim_wrapper)
    return updated


def _skips_in_kernel(optimizer: Optimizer) -> bool:
    # What a GradScaler gives an optimiser that looks at it while it steps (fused=True).
    found: Any = getattr(optimizer, 'found_inf', None)
    return found is not None and bool(found)


def _check_scale(optim_wrapper: OptimWrapper) -> None:
    scale = optim_wrapper.loss_scaler.get_scale()
    if scale < SMALLEST_SCALE:
        raise NonFiniteLossError(f'the loss scale has fallen to {scale}: the gradients are not finite at any scale, '
                                 'and every step is skipped. Lower optim_wrapper.optimizer.lr, or train without --amp '
                                 'float16')
