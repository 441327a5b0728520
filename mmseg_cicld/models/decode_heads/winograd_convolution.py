"""Dense 3x3 convolution on a CPU with a quarter of the multiplications: Winograd's F(4x4, 3x3).

A tile of 6x6 pixels gives 4x4 outputs (Lavin and Gray, CVPR 2016): tiles and kernels are transformed, multiplied place
by place, which is 36 products of matrices, and the result is transformed back. The transforms interpolate at
0, +-3/4, +-3/2 and infinity: these points keep the rounding at three times that of a sum of products, where the usual
0, +-1, +-2 make it seven times (what is best is in Barabasz et al., ACM TOMS 2020), and float32 holds all factors.

Shape suffixes: B images, H and W height and width, I and O input and output channels, T tiles, S=36 places of a tile.
"""
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..export_tracing import is_exported
from ..precision import convolved_dtype, multiplies_bfloat16

NEAR, FAR = 0.75, 1.5
# Tiles that are transformed and multiplied at once: enough for fast products, few enough for little memory.
TILES_AT_ONCE = 64
# Below, the transforms cost more than the products save.
SMALLEST_CHANNELS, SMALLEST_TILES = 64, 64
# Transformed kernels are kept in blocks of some places each. Blocks of 32 MiB go back to the system where freed memory is
# not kept (freed_memory.py), and to get a page anew takes as long as to compute what is in it.
LARGEST_BLOCK = 24 * 2**20


class WinogradConv2d(nn.Conv2d):
    """A ``Conv2d`` that computes wide 3x3 convolutions by Winograd's algorithm on a CPU.

    Arguments, tensor names and, up to rounding, results are those of ``torch.nn.Conv2d``, which it is on a GPU, in an
    exported or compiled network, and for small maps. Under autocast to bfloat16 it is that too where the processor
    multiplies such numbers itself, up to four times as fast as float32; elsewhere it computes in float32.
    """

    def forward(self, x_BIHW: Tensor) -> Tensor:
        """Returns the convolved map; channels-last where the algorithm was used."""
        if not self._suits(x_BIHW):
            return super().forward(x_BIHW)
        dtype = convolved_dtype(x_BIHW)
        with torch.autocast('cpu', enabled=False):
            out_BHWO = _Winograd.apply(x_BIHW.permute(0, 2, 3, 1), self.weight)
            out_BHWO = out_BHWO if self.bias is None else out_BHWO + self.bias
            return out_BHWO.to(dtype).permute(0, 3, 1, 2)

    def _suits(self, x_BIHW: Tensor) -> bool:
        if x_BIHW.device.type != 'cpu' or is_exported() or torch.compiler.is_compiling():
            return False
        if convolved_dtype(x_BIHW) == torch.bfloat16 and multiplies_bfloat16():
            return False
        batch, _, height, width = x_BIHW.shape
        tiles = batch * (height // 4) * (width // 4)
        return (self.weight.dtype in (torch.float32, torch.float64) and self.kernel_size == (3, 3)
                and self.stride == self.padding == self.dilation == (1, 1) and self.groups == 1
                and self.padding_mode == 'zeros' and tiles >= SMALLEST_TILES
                and min(self.in_channels, self.out_channels) >= SMALLEST_CHANNELS)


class _Winograd(torch.autograd.Function):
    """Convolves [B, H, W, I] with a kernel [O, I, 3, 3] to [B, H, W, O]; transformed tiles are made anew."""

    @staticmethod
    def forward(ctx: Any, x_BHWI: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x_BHWI, weight)
        return _convolved(x_BHWI, [block_SOI.transpose(1, 2) for block_SOI in _kernel_blocks(weight, turned=False)])

    @staticmethod
    def backward(ctx: Any, grad_BHWO: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x_BHWI, weight = ctx.saved_tensors
        grad_x = grad_weight = None
        if ctx.needs_input_grad[1]:  # first, before there is a gradient of the map: it takes most memory
            grad_weight = _weight_gradient(x_BHWI, grad_BHWO, weight)
        if ctx.needs_input_grad[0]:
            grad_x = _convolved(grad_BHWO, _kernel_blocks(weight, turned=True)).to(x_BHWI.dtype)
        return grad_x, grad_weight


def _kernel_blocks(weight: Tensor, turned: bool) -> list[Tensor]:
    """Returns transformed kernels [S, O, I], some places a block, turned by half a circle for the gradient of a map."""
    kernels = weight.reshape(-1, 9).T
    transform = _kernel_transform(weight.dtype)
    return [(part @ kernels).view(-1, *weight.shape[:2])
            for part in (transform.flip(1) if turned else transform).split(_places_at_once(weight))]


def _convolved(x_BHWI: Tensor, blocks_SIO: list[Tensor]) -> Tensor:
    batch, height, width, _ = x_BHWI.shape
    channels, dtype = blocks_SIO[0].shape[2], blocks_SIO[0].dtype
    out = x_BHWI.new_empty(batch, -(-height // 4) * 4, -(-width // 4) * 4, channels, dtype=dtype)
    for image, rows, tiles_STI in _transformed_tiles(x_BHWI, dtype):
        products_STO = out.new_empty(36, tiles_STI.shape[1], channels)
        for tiles, block_SIO, products in _by_block(blocks_SIO, tiles_STI, products_STO):
            torch.bmm(tiles, block_SIO, out=products)
        _output_transform(products_STO.view(6, 6, len(rows), -1, channels),
                          out[image, 4 * rows.start:4 * rows.stop].unflatten(1, (-1, 4)).unflatten(0, (-1, 4)))
        del products, products_STO  # before the next are made
    return out[:, :height, :width]


def _weight_gradient(x_BHWI: Tensor, grad_BHWO: Tensor, weight: Tensor) -> Tensor:
    dtype, channels = weight.dtype, len(weight)
    height, width = x_BHWI.shape[1:3]
    grad_BHWO = F.pad(grad_BHWO.to(dtype), (0, 0, 0, -width % 4, 0, -height % 4))
    transforms = _kernel_transform(dtype).split(_places_at_once(weight))
    blocks_SOI = [weight.new_empty(len(transform), *weight.shape[:2]) for transform in transforms]
    summed = 0  # whether a block has a sum already; before, it has anything
    for image, rows, tiles_STI in _transformed_tiles(x_BHWI, dtype):
        grads = _output_gradient(grad_BHWO[image, 4 * rows.start:4 * rows.stop].unflatten(1, (-1, 4))
                                 .unflatten(0, (-1, 4)))
        for tiles, block_SOI, grads_STO in _by_block(blocks_SOI, tiles_STI, grads.view(36, -1, channels)):
            block_SOI.baddbmm_(grads_STO.transpose(1, 2), tiles, beta=summed)
        summed = 1
    kernels = sum(transform.T @ block_SOI.flatten(1) for transform, block_SOI in zip(transforms, blocks_SOI))
    return kernels.view(3, 3, *weight.shape[:2]).permute(2, 3, 0, 1)


def _places_at_once(weight: Tensor) -> int:
    return max(1, LARGEST_BLOCK // (weight[..., 0, 0].numel() * weight.element_size()))


def _by_block(blocks: list[Tensor], tiles_STI: Tensor,
              outputs_STO: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yields tiles, kernels and outputs of the same places."""
    places = [len(block) for block in blocks]
    return zip(tiles_STI.split(places), blocks, outputs_STO.split(places))


def _transformed_tiles(x_BHWI: Tensor, dtype: torch.dtype) -> Iterator[tuple[int, range, Tensor]]:
    """Yields image, rows of tiles, and these transformed, [S, T, I], in the memory of those before."""
    _, height, width, channels = x_BHWI.shape
    rows, columns = -(-height // 4), -(-width // 4)
    step = min(rows, max(1, TILES_AT_ONCE // columns))
    half = torch.empty(6, 4 * columns + 2, channels, dtype=dtype)
    across = half.as_strided((6, 6, columns, channels), (channels, half.stride(0), 4 * channels, 1))
    tiles = torch.empty(36 * step * columns * channels, dtype=dtype)
    padded = torch.zeros(4 * rows + 2, 4 * columns + 2, channels, dtype=dtype)
    for image, x_HWI in enumerate(x_BHWI):
        padded[1:height + 1, 1:width + 1] = x_HWI
        for start in range(0, rows, step):
            part = range(start, min(start + step, rows))
            now = tiles[:36 * len(part) * columns * channels].view(6, 6, len(part), columns, channels)
            # A row of tiles at a time, down and then across: what lies between stays in the cache.
            for place, row in enumerate(part):
                _input_transform(padded[4 * row:4 * row + 6], half)
                _input_transform(across, now[:, :, place].transpose(0, 1))
            yield image, part, now.view(36, -1, channels)


def _input_transform(d: Tensor, out: Tensor) -> None:
    """Six pixels of a row or column to six places: the rows of B^T belong to 0, +-NEAR, +-FAR and infinity."""
    for first, point, other in ((1, NEAR, FAR), (3, FAR, NEAR)):
        even = torch.add(d[4], d[2], alpha=-other**2)
        odd = torch.add(d[3], d[1], alpha=-other**2)
        torch.add(even, odd, alpha=point, out=out[first])
        torch.sub(even, odd, alpha=point, out=out[first + 1])
    for place in (0, 5):
        start = place // 5
        torch.add(d[start + 4], d[start + 2], alpha=-(NEAR**2 + FAR**2), out=out[place])
        out[place].add_(d[start], alpha=(NEAR * FAR)**2)


def _output_transform(products: Tensor, out: Tensor) -> None:
    """Products [6, 6, rows, columns, O] to outputs [rows, 4, columns, 4, O]: A^T down, then across."""
    for row in range(products.shape[2]):
        half = products.new_empty(4, *products.shape[1:2], *products.shape[3:])
        _four_of_six(products[:, :, row], half)
        _four_of_six(half.transpose(0, 1), out[row].permute(2, 0, 1, 3))


def _four_of_six(m: Tensor, out: Tensor) -> None:
    near_sum, near_difference, far_sum, far_difference = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    torch.add(near_sum, far_sum, out=out[0]).add_(m[0])
    for power, near, far in ((1, near_difference, far_difference), (2, near_sum, far_sum),
                             (3, near_difference, far_difference)):
        torch.mul(near, NEAR**power, out=out[power]).add_(far, alpha=FAR**power)
    out[3].add_(m[5])


def _output_gradient(grad: Tensor) -> Tensor:
    """The transpose of :func:`_output_transform`: [rows, 4, columns, 4, O] to [6, 6, rows, columns, O]."""
    rows, _, columns, _, channels = grad.shape
    half = grad.new_empty(6, rows, columns, 4, channels)
    _six_of_four(grad.transpose(0, 1), half)
    out = grad.new_empty(6, 6, rows, columns, channels)
    _six_of_four(half.permute(3, 0, 1, 2, 4), out.transpose(0, 1))
    return out


def _six_of_four(y: Tensor, out: Tensor) -> None:
    out[0].copy_(y[0])
    out[5].copy_(y[3])
    for first, point in ((1, NEAR), (3, FAR)):
        even = torch.add(y[0], y[2], alpha=point**2)
        odd = torch.add(y[1], y[3], alpha=point**2)
        torch.add(even, odd, alpha=point, out=out[first])
        torch.sub(even, odd, alpha=point, out=out[first + 1])


@cache
def _kernel_transform(dtype: torch.dtype) -> Tensor:
    """Returns the matrix [36, 9] that transforms a kernel: rows of G are powers of a point by its Lagrange divisor."""
    points = torch.tensor([0, NEAR, -NEAR, FAR, -FAR], dtype=torch.float64)
    differences = points[:, None] - points
    divisors = (differences + torch.eye(5, dtype=torch.float64)).prod(dim=1, keepdim=True)
    single = torch.cat([points[:, None]**torch.arange(3) / divisors, torch.tensor([[0., 0., 1.]], dtype=torch.float64)])
    return torch.kron(single, single).to(dtype)
