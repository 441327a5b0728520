"""3x3 convolution with a quarter of the multiplications (Winograd's F(4x4, 3x3), Lavin and Gray, CVPR 2016).

oneDNN, which convolves for torch on CPUs, has no such kernel. Here one batched matrix product does the multiplications.

Shape suffixes: B images, C channels, O output channels, H and W height and width, T tiles of 4 x 4 pixels.
"""
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TILE = 4
ROWS = 2  # of tiles that are transformed at once: more would leave the caches
FEWEST_CHANNELS = 256  # below, the transforms cost what the products save
KERNEL = ((1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6), (1 / 24, 1 / 12, 1 / 6),
          (1 / 24, -1 / 12, 1 / 6), (0, 0, 1))


def fits(convolution: nn.Conv2d) -> bool:
    """Tells whether a convolution is one that :class:`WinogradConvolution` computes, and faster."""
    return (isinstance(convolution, nn.Conv2d) and convolution.kernel_size == (3, 3) and convolution.stride == (1, 1)
            and convolution.padding == (1, 1) and convolution.dilation == (1, 1) and convolution.groups == 1
            and convolution.padding_mode == 'zeros' and min(convolution.in_channels, convolution.out_channels) >= FEWEST_CHANNELS)


class WinogradConvolution(nn.Module):
    """A 3x3 convolution with padding 1, over maps that are stacked in their channels without being copied together.

    Results differ from a direct convolution's by rounding: about 5e-5 where values are about 1 (direct: 1e-5).

    Args:
        convolution: Whose weights are taken, see :func:`fits`.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        kernel = torch.tensor(KERNEL, dtype=torch.float64)
        weight_OCyx = convolution.weight.detach()
        products = torch.einsum('iy,ocyx,jx->ijco', kernel, weight_OCyx.double(), kernel).flatten(0, 1)
        self.register_buffer('weight_36CO', products.to(weight_OCyx).contiguous(), persistent=False)
        self.register_buffer('bias_O', None if convolution.bias is None else convolution.bias.detach(), persistent=False)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Convolves maps [B, C, H, W], whose channels together are those of the weights.

        Returns:
            [B, O, H, W], channels-last.
        """
        batch, _, height, width = maps[0].shape
        rows, columns = -(-height // TILE), -(-width // TILE)
        edges = (0, 0, 1, 1 + columns * TILE - width, 1, 1 + rows * TILE - height)
        padded = [F.pad(part.permute(0, 2, 3, 1), edges) for part in maps]
        out_BHWO = maps[0].new_empty(batch, rows * TILE, columns * TILE, self.weight_36CO.shape[-1])
        for image in range(batch):
            for row in range(0, rows, ROWS):
                count = min(ROWS, rows - row)
                window = slice(row * TILE, (row + count) * TILE + 2)
                tiles_36TC = self._transformed([part[image, window] for part in padded], count, columns)
                products = torch.bmm(tiles_36TC, self.weight_36CO).view(6, 6, count, columns, -1)
                target = out_BHWO[image, row * TILE:(row + count) * TILE].view(count, TILE, columns, TILE, -1)
                for y, line in enumerate(_to_pixels(products)):
                    for x, values in enumerate(_to_pixels(line)):
                        target[:, y, :, x] = values
        if self.bias_O is not None:
            out_BHWO += self.bias_O
        return out_BHWO[:, :height, :width].permute(0, 3, 1, 2)

    def _transformed(self, parts: Sequence[Tensor], rows: int, columns: int) -> Tensor:
        tiles = parts[0].new_empty(6, 6, rows, columns, self.weight_36CO.shape[1])
        start = 0
        for part_hwC in parts:
            stop = start + part_hwC.shape[-1]
            for y, line in enumerate(_to_products([part_hwC[y:y + TILE * rows - 3:TILE] for y in range(6)])):
                for x, values in enumerate(_to_products([line[:, x:x + TILE * columns - 3:TILE] for x in range(6)])):
                    tiles[y, x, ..., start:stop] = values
            start = stop
        return tiles.view(36, rows * columns, -1)


def _to_products(d: Sequence[Tensor]) -> list[Tensor]:
    even, odd = d[4] - 4 * d[2], d[3] - 4 * d[1]
    outer, inner = d[4] - d[2], 2 * (d[3] - d[1])
    return [4 * d[0] - 5 * d[2] + d[4], even + odd, even - odd, outer + inner, outer - inner, 4 * d[1] - 5 * d[3] + d[5]]


def _to_pixels(m: Sequence[Tensor]) -> list[Tensor]:
    near, far = m[1] + m[2], m[3] + m[4]
    near_odd, far_odd = m[1] - m[2], m[3] - m[4]
    return [m[0] + near + far, near_odd + 2 * far_odd, near + 4 * far, near_odd + 8 * far_odd + m[5]]
