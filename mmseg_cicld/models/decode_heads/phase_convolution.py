"""Dilated depthwise convolution on CPU as a plain one on interleaved sub-grids: the same numbers, many times faster.

oneDNN has fast kernels for depthwise convolutions only without dilation, backward above all. A convolution of
dilation d never mixes pixels whose rows or columns differ modulo d, so the map falls apart into d*d sub-grids
(phases) on each of which it is a plain convolution. Taking a map apart moves whole pixels, which are contiguous in
channels-last memory.

Shape suffixes: B images, C channels, H and W height and width, P pixels of all phases (padded), R pixels of the map.
"""
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..export_tracing import is_exported


class PhaseConv2d(nn.Conv2d):
    """A ``Conv2d`` that takes dilated depthwise 3x3 convolutions apart into phases on CPU.

    Arguments, tensor names and results are those of ``torch.nn.Conv2d``, which it is in an exported file: the layout of
    the phases is that of one size, and other runtimes have dilated kernels.
    """

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Returns the convolved map; channels-last where phases were used."""
        if x_BCHW.device.type != 'cpu' or not self._splits or is_exported():
            return super().forward(x_BCHW)
        batch, channels, height, width = x_BCHW.shape
        dilation = self.dilation[0]
        rows, cols = -(-height // dilation), -(-width // dilation)
        slots, pixels, padding = _phase_layout(batch, height, width, dilation)
        pixels_RC = x_BCHW.permute(0, 2, 3, 1).reshape(-1, channels)
        phases_PC = _SplitPhases.apply(pixels_RC, slots, pixels, padding)
        phases = phases_PC.view(-1, rows, cols, channels).permute(0, 3, 1, 2)
        phases = F.conv2d(phases, self.weight, self.bias, padding=1, groups=self.groups)
        phases_PC = phases.permute(0, 2, 3, 1).reshape(-1, channels)
        joined_RC = _JoinPhases.apply(phases_PC, slots, pixels, padding)
        return joined_RC.view(batch, height, width, channels).permute(0, 3, 1, 2)

    @property
    def _splits(self) -> bool:
        return (self.groups == self.in_channels == self.out_channels and self.kernel_size == (3, 3)
                and self.stride == (1, 1) and self.padding == self.dilation
                and self.dilation[0] == self.dilation[1] > 1)


def _phase_layout(batch: int, height: int, width: int, dilation: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns for each pixel its slot [R], for each slot a pixel [P], and which slots are padding [P, 1].

    Slots are ordered by image, row and column modulo the dilation, row and column divided by it; pixels by image, row
    and column.
    """
    rows, cols = -(-height // dilation), -(-width // dilation)
    image = torch.arange(batch)[:, None, None]
    y, x = torch.arange(height)[:, None], torch.arange(width)
    slots = ((((image * dilation + y % dilation) * dilation + x % dilation) * rows + y // dilation) * cols
             + x // dilation)
    offset, cell_y, cell_x = torch.arange(dilation), torch.arange(rows), torch.arange(cols)
    y = (offset[:, None, None, None] + dilation * cell_y[:, None])
    x = (offset[:, None, None] + dilation * cell_x)
    padding = ((y >= height) | (x >= width)).expand(batch, -1, -1, -1, -1)
    pixels = (image[..., None, None] * height + y.clamp(max=height - 1)) * width + x.clamp(max=width - 1)
    return slots.flatten(), pixels.flatten(), padding.reshape(-1, 1)


class _SplitPhases(torch.autograd.Function):
    """Pixels [R, C] to phases [P, C], zero where padded. Its gradient is :class:`_JoinPhases`, and vice versa."""

    @staticmethod
    def forward(ctx: Any, pixels_RC: Tensor, slots: Tensor, pixels: Tensor, padding: Tensor) -> Tensor:
        ctx.layout = slots, pixels, padding
        return pixels_RC.index_select(0, pixels).masked_fill_(padding, 0)

    @staticmethod
    def backward(ctx: Any, grad_PC: Tensor) -> tuple[Tensor, None, None, None]:
        return _JoinPhases.apply(grad_PC, *ctx.layout), None, None, None


class _JoinPhases(torch.autograd.Function):
    """Phases [P, C] to pixels [R, C]."""

    @staticmethod
    def forward(ctx: Any, phases_PC: Tensor, slots: Tensor, pixels: Tensor, padding: Tensor) -> Tensor:
        ctx.layout = slots, pixels, padding
        return phases_PC.index_select(0, slots)

    @staticmethod
    def backward(ctx: Any, grad_RC: Tensor) -> tuple[Tensor, None, None, None]:
        return _SplitPhases.apply(grad_RC, *ctx.layout), None, None, None
