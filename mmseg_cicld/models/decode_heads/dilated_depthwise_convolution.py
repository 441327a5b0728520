"""Dilated depthwise 3x3 convolution with a fast backward pass on a CPU: the same numbers, many times faster.

oneDNN has fast kernels for dilated depthwise convolutions of channels-last maps, but for the forward pass alone. The
gradient of the input is such a convolution too, with the kernel turned by half a circle; that of the kernel is a sum of
products of pixels, nine times, which is made row by row, so that both rows stay in the cache.

Shape suffixes: B images, C channels, H and W height and width,
R rows that are multiplied at once.
"""
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..export_tracing import is_exported
from ..precision import convolved_dtype, full_precision

ROWS_AT_ONCE = 2


class DilatedDepthwiseConv2d(nn.Conv2d):
    """A ``Conv2d`` that computes the gradients of dilated depthwise 3x3 convolutions by itself on a CPU.

    Arguments, tensor names and results are those of ``torch.nn.Conv2d``, which it is in an exported file: other runtimes
    have dilated kernels.
    """

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Returns the convolved map; channels-last where the gradients are its own."""
        if x_BCHW.device.type != 'cpu' or not self._has_own_gradients or is_exported():
            return super().forward(x_BCHW)
        x_BCHW = x_BCHW.to(convolved_dtype(x_BCHW), memory_format=torch.channels_last)
        out_BCHW = _DilatedDepthwise.apply(x_BCHW, self.weight, self.dilation[0])
        return out_BCHW if self.bias is None else out_BCHW + self.bias[:, None, None]

    @property
    def _has_own_gradients(self) -> bool:
        return (self.groups == self.in_channels == self.out_channels and self.kernel_size == (3, 3)
                and self.stride == (1, 1) and self.padding == self.dilation and self.padding_mode == 'zeros'
                and self.dilation[0] == self.dilation[1] > 1)


class _DilatedDepthwise(torch.autograd.Function):
    """Convolves [B, C, H, W], channels-last, with a kernel [C, 1, 3, 3]."""

    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, weight: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(x_BCHW, weight)
        ctx.dilation = dilation
        return _convolved(x_BCHW, weight, dilation)

    @staticmethod
    def backward(ctx: Any, grad_BCHW: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x_BCHW, weight = ctx.saved_tensors
        grad_BCHW = grad_BCHW.contiguous(memory_format=torch.channels_last)
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = _convolved(grad_BCHW, weight.flip(2, 3), ctx.dilation)
        if ctx.needs_input_grad[1]:
            # Many products are summed here, which half precision is too coarse for.
            grad_weight = _weight_gradient(full_precision(x_BCHW), full_precision(grad_BCHW), ctx.dilation)
        return grad_x, grad_weight, None


def _convolved(x_BCHW: Tensor, weight: Tensor, dilation: int) -> Tensor:
    # oneDNN's kernel pads rows up to its block of columns alone (6 with AVX-512), beyond it runs a slow one.
    if torch.compiler.is_compiling():
        return _convolved_rows(F.pad(x_BCHW, (dilation, dilation)), weight, dilation)
    # An image at a time in the same memory: HRDA's teacher has dozens of windows, and new pages cost more than the work.
    _, channels, height, width = x_BCHW.shape
    padded_1HWC = x_BCHW.new_zeros(1, height, width + 2 * dilation, channels)
    out_BCHW = torch.empty_like(x_BCHW)
    for x_CHW, out_CHW in zip(x_BCHW, out_BCHW):
        padded_1HWC[0, :, dilation:-dilation] = x_CHW.permute(1, 2, 0)
        out_CHW.copy_(_convolved_rows(padded_1HWC.permute(0, 3, 1, 2), weight, dilation)[0])
    return out_BCHW


def _convolved_rows(padded_BCHW: Tensor, weight: Tensor, dilation: int) -> Tensor:
    return F.conv2d(padded_BCHW, weight.to(padded_BCHW.dtype), padding=(dilation, 0), dilation=dilation,
                    groups=len(weight))


def _weight_gradient(x_BCHW: Tensor, grad_BCHW: Tensor, dilation: int) -> Tensor:
    batch, channels, height, width = x_BCHW.shape
    x_BHWC, grad_BHWC = x_BCHW.permute(0, 2, 3, 1), grad_BCHW.permute(0, 2, 3, 1)
    # A compiler makes better loops of whole maps, and a graph of bearable size.
    step = height if torch.compiler.is_compiling() else min(height, ROWS_AT_ONCE)
    sums = [x_BCHW.new_zeros(batch, step, width, channels) for _ in range(9)]
    for start in range(0, height, step):
        for tap, total_BRWC in enumerate(sums):
            down, right = (tap // 3 - 1) * dilation, (tap % 3 - 1) * dilation
            top, bottom = max(start, -down), min(start + step, height, height - down)
            left, end = max(0, -right), min(width, width - right)
            if top < bottom and left < end:
                total_BRWC[:, :bottom - top, :end - left].addcmul_(
                    x_BHWC[:, top + down:bottom + down, left + right:end + right],
                    grad_BHWC[:, top:bottom, left:end])
    return torch.stack([total.sum(dim=(0, 1, 2)) for total in sums], dim=1).view(channels, 1, 3, 3)
