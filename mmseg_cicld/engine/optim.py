"""Mixed precision without loss scaling, on CPU and GPU."""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn
from torch.optim import Optimizer

from ..models.precision import autocast_dtype, multiplies_bfloat16


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Runs forward passes under autocast in bfloat16, whose range needs no loss scaling; weights stay float32.

    mmengine's ``AmpOptimWrapper`` refuses to run without a GPU; this one runs on both. On a processor that does not
    multiply numbers of bfloat16 itself it saves memory, but takes several times as long as float32, and warns once.

    Args:
        optimizer: The optimiser.
        dtype: ``'bfloat16'``, or ``'auto'``: bfloat16 on a device with units for it, float32 on others; the log says
            which. For configs that are trained on any machine.
        **kwargs: ``accumulative_counts`` and ``clip_grad`` of mmengine's ``OptimWrapper``.

    Raises:
        ValueError: For another type, which would need loss scaling or save nothing.
    """

    def __init__(self, optimizer: Optimizer, dtype: str = 'bfloat16', **kwargs) -> None:
        device = optimizer.param_groups[0]['params'][0].device
        try:
            self._autocast_dtype = autocast_dtype(dtype, device)
        except ValueError as error:
            raise ValueError(f"optim_wrapper.{error}. For float16 on a GPU use optim_wrapper.type='AmpOptimWrapper', "
                             'which scales the loss') from error
        super().__init__(optimizer, **kwargs)
        logger = MMLogger.get_current_instance()
        if dtype == 'auto':
            logger.info(f"optim_wrapper.dtype='auto' on {device}: {self._autocast_dtype or torch.float32}")
        elif device.type == 'cpu' and not multiplies_bfloat16():
            logger.warning(
                'bfloat16 on a processor without units for it takes several times as long as float32: train without '
                "--amp (optim_wrapper.type='OptimWrapper', or dtype='auto')")

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enters autocast for the device of ``model`` beside the parent's context for gradient accumulation."""
        device_type = next(model.parameters()).device.type
        enabled = self._autocast_dtype is not None
        with super().optim_context(model), torch.autocast(device_type, dtype=self._autocast_dtype, enabled=enabled):
            yield
