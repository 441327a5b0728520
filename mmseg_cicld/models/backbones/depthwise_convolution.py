"""Depthwise convolution whose gradients on a CPU are fast where the library's are not: the same numbers.

oneDNN has fast gradients of depthwise kernels of 3 x 3 alone. Those of a wider kernel are put together from kernels of
3 x 3, which see parts of the map that are moved against each other. In bfloat16 what has a stride, and what is put
together, is computed in float32: there oneDNN is up to a hundred times slower.

Shape suffixes: B images, C channels, H and W height and width of the input, h and w those of the output.
"""
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..export_tracing import is_exported
from ..precision import convolved_dtype

FAST = 3
"""Side of the kernels whose gradients oneDNN has fast forms for."""


class DepthwiseConv2d(nn.Conv2d):
    """A ``Conv2d`` with zeros around the map whose gradients are fast on a CPU where it is depthwise with a square kernel.

    Arguments, tensor names and results are those of ``torch.nn.Conv2d``; ``padding`` in numbers, ``padding_mode`` as it is.
    """

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Returns the convolved map."""
        return convolved(self, x_BCHW, self.padding)


def convolved(conv: nn.Conv2d, x_BCHW: Tensor, padding: tuple[int, int]) -> Tensor:
    """Returns what a convolution makes of a map, with gradients that are fast on a CPU where it is depthwise.

    Args:
        conv: Its weights, stride, dilation and groups are used.
        x_BCHW: Input [B, in_channels, H, W].
        padding: Rows and columns of zeros on each side.
    """
    if not has_own_gradients(conv, x_BCHW):
        return F.conv2d(x_BCHW, conv.weight, conv.bias, conv.stride, padding, conv.dilation, conv.groups)
    out_BChw = _Depthwise.apply(x_BCHW.to(convolved_dtype(x_BCHW)), conv.weight, conv.stride, padding)
    return out_BChw if conv.bias is None else out_BChw + conv.bias[:, None, None].to(out_BChw.dtype)


def has_own_gradients(conv: nn.Conv2d, x_BCHW: Tensor) -> bool:
    """Tells whether the gradients of a convolution of this map are computed here and not by the library."""
    if x_BCHW.device.type != 'cpu' or not torch.is_grad_enabled() or is_exported():
        return False
    side, other = conv.kernel_size
    depthwise = conv.groups == conv.in_channels == conv.out_channels
    dtype = convolved_dtype(x_BCHW)
    slow = side > FAST or (max(conv.stride) > 1 and dtype == torch.bfloat16)
    return depthwise and slow and side == other and side % 2 == 1 and conv.dilation == (1, 1) and dtype in (
        torch.float32, torch.bfloat16)


class _Depthwise(torch.autograd.Function):
    """Convolves [B, C, H, W] with a kernel [C, 1, k, k] of odd k."""

    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x_BCHW, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x_BCHW, weight.to(x_BCHW.dtype), stride=stride, padding=padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, grad_BChw: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        saved = ctx.saved_tensors  # once: recomputed activations are given out no second time
        dtypes, (x_BCHW, weight) = [part.dtype for part in saved], (part.float() for part in saved)
        grad_BChw, grad_x, grad_weight = grad_BChw.float(), None, None
        if ctx.needs_input_grad[0]:
            grad_x = _gradients(grad_BChw, x_BCHW, weight, ctx.stride, ctx.padding, (True, False))[0].to(dtypes[0])
        if ctx.needs_input_grad[1]:
            grad_weight = _weight_gradient(grad_BChw, x_BCHW, weight, ctx.stride, ctx.padding).to(dtypes[1])
        return grad_x, grad_weight, None, None


def _weight_gradient(grad_BChw: Tensor, x_BCHW: Tensor, weight: Tensor, stride: tuple[int, int],
                     padding: tuple[int, int]) -> Tensor:
    side, (down, across) = weight.shape[-1], padding
    if side == FAST:
        return _gradients(grad_BChw, x_BCHW, weight, stride, padding, (False, True))[1]
    layout = torch.channels_last if x_BCHW.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    padded_BCHW = F.pad(x_BCHW, (across, across, down, down))
    rows, columns = ((size - 1) * step + FAST for size, step in zip(grad_BChw.shape[2:], stride))
    total, part = torch.zeros_like(weight), weight[..., :FAST, :FAST].contiguous()
    for top in range(0, side - 1, FAST - 1):  # neighbours share a row or column, which both give alike
        for left in range(0, side - 1, FAST - 1):
            seen_BCHW = padded_BCHW[:, :, top:top + rows, left:left + columns].contiguous(memory_format=layout)
            _, gradient = _gradients(grad_BChw, seen_BCHW, part, stride, (0, 0), (False, True))
            total[:, :, top:top + FAST, left:left + FAST] = gradient
    return total


def _gradients(grad_BChw: Tensor, x_BCHW: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int],
               wanted: tuple[bool, bool]) -> tuple[Tensor, Tensor]:
    """Returns the library's gradients of input and kernel, where they are wanted."""
    found = torch.ops.aten.convolution_backward(grad_BChw, x_BCHW, weight, None, stride, padding, (1, 1), False, (0, 0),
                                                len(weight), (*wanted, False))
    return found[0], found[1]
