"""A block of layers whose large maps are computed once more in the backward pass, in place of being kept until then."""
import contextlib

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ..export_tracing import is_exported

# Bytes of a map from which on memory is worth the time. Smaller ones are of networks that fit anywhere.
LARGE_MAP = 32 * 2**20


def computed_again(block: nn.Module, x_BCHW: Tensor) -> Tensor:
    """Applies a block of layers; on a CPU what they make of a large map is not kept for the backward pass.

    It is for layers that cost little to compute again, such as a depthwise convolution, its norm and activation: each
    keeps a map as large as the input, which several branches share. Results, gradients and running statistics are those
    of ``block(x_BCHW)``, which this is on other devices, for small maps, without gradients, and in a compiled or exported
    network. Weights have to stay as they are until the backward pass. Source: gradient checkpointing (Chen et al., 2016).

    Args:
        block: Layers that draw no random numbers.
        x_BCHW: Their input, [B, C, H, W], of any floating point type.

    Returns:
        Their output.
    """
    if (x_BCHW.device.type != 'cpu' or x_BCHW.nbytes < LARGE_MAP or not torch.is_grad_enabled()
            or torch.compiler.is_compiling() or is_exported()):
        return block(x_BCHW)
    return checkpoint(block, x_BCHW, use_reentrant=False, preserve_rng_state=False,
                      context_fn=lambda: (contextlib.nullcontext(), _AsInForward(block)))


class _AsInForward:
    """Lets norms work as they do when this is made, and takes back what they note: they see the map a second time."""

    def __init__(self, block: nn.Module) -> None:
        self._norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
        self._buffers = list(block.buffers())
        self._modes = self._modes_now()

    def __enter__(self) -> None:
        self._after = self._modes_now(), [buffer.clone() for buffer in self._buffers]
        self._set_modes(self._modes)

    def __exit__(self, *error: object) -> None:
        modes, values = self._after
        self._set_modes(modes)
        for buffer, value in zip(self._buffers, values):
            buffer.data.copy_(value)  # unseen by other backward passes of the norm, which are not disturbed by it

    def _modes_now(self) -> list[tuple[bool, bool]]:
        return [(norm.training, norm.track_running_stats) for norm in self._norms]

    def _set_modes(self, modes: list[tuple[bool, bool]]) -> None:
        for norm, (training, tracks) in zip(self._norms, modes):
            norm.training, norm.track_running_stats = training, tracks
