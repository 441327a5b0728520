"""Mixed precision without loss scaling, on CPU and GPU."""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn
from torch.optim import Optimizer

from ..models.precision import multiplies_bfloat16


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Runs forward passes under autocast in bfloat16, whose range needs no loss scaling; weights stay float32.

    mmengine's ``AmpOptimWrapper`` refuses to run without a GPU; this one runs on both. On a processor that does not
    multiply numbers of bfloat16 itself it warns once: it saves memory there, but takes longer than float32.

    Args:
        optimizer: The optimiser.
        dtype: Only ``'bfloat16'``.
        **kwargs: ``accumulative_counts`` and ``clip_grad`` of mmengine's ``OptimWrapper``.

    Raises:
        ValueError: For another type, which would need loss scaling or save nothing.
    """

    def __init__(self, optimizer: Optimizer, dtype: str = 'bfloat16', **kwargs) -> None:
        if dtype != 'bfloat16':
            raise ValueError(f"optim_wrapper.dtype is '{dtype}', allowed is 'bfloat16'. For float16 on a GPU use "
                             "optim_wrapper.type='AmpOptimWrapper', which scales the loss")
        super().__init__(optimizer, **kwargs)
        device = optimizer.param_groups[0]['params'][0].device
        if device.type == 'cpu' and not multiplies_bfloat16():
            MMLogger.get_current_instance().warning(
                'bfloat16 on a processor without units for it takes longer than float32: train without --amp '
                "(optim_wrapper.type='OptimWrapper')")

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enters autocast for the device of ``model`` beside the parent's context for gradient accumulation."""
        device_type = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device_type, dtype=torch.bfloat16):
            yield
