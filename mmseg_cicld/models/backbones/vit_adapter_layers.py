"""Parts of the ViT adapter (Chen et al., ICLR 2023, section 3): spatial prior, injector, extractor.

A pyramid is a sequence of tokens: its levels of stride 8, 16 and 32, one after the other, each row by row.
Shape suffixes: B images, N tokens, Q tokens of the pyramid, C channels, H and W size, h and w size of a map.
"""
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_norm_layer
from torch import Tensor, nn

from .deformable_attention import DeformableAttention

STRIDES = (8, 16, 32)


class Geometry(NamedTuple):
    """Where the tokens of the transformer and of the pyramid lie, for one size of image.

    Args:
        grid: Rows and columns of the transformer's tokens.
        sizes: Rows and columns of each level of the pyramid.
        of_tokens_NL2: Places of the transformer's tokens in the levels of the pyramid, see :class:`DeformableAttention`.
        of_pyramid_Q12: Places of the pyramid's tokens in the grid.
    """

    grid: tuple[int, int]
    sizes: tuple[tuple[int, int], ...]
    of_tokens_NL2: Tensor
    of_pyramid_Q12: Tensor

    @classmethod
    def of(cls, size: Sequence[int], patch: int, device: torch.device) -> 'Geometry':
        """Computes it for an image of whole patches; levels cover it, and a little more where it is not divisible."""
        height, width = size
        grid = (height // patch, width // patch)
        sizes = tuple((-(-height // stride), -(-width // stride)) for stride in STRIDES)
        tokens_N2 = _middles(grid, patch, device)
        levels = [tokens_N2 / tokens_N2.new_tensor([columns * stride, rows * stride])
                  for (rows, columns), stride in zip(sizes, STRIDES)]
        pyramid_Q2 = torch.cat([_middles(level, stride, device) for level, stride in zip(sizes, STRIDES)])
        return cls(grid, sizes, torch.stack(levels, dim=1), (pyramid_Q2 / pyramid_Q2.new_tensor([width, height]))[:, None])


class SpatialPrior(nn.Module):
    """Convolutions beside the transformer, which give maps of stride 4, 8, 16 and 32 (section 3.3 of the paper).

    Args:
        channels: Channels of each map.
        inplanes: Channels of the stem; the levels behind it have twice, four times and four times as many.
        norm_cfg: Norm layers.
    """

    def __init__(self, channels: int, inplanes: int, norm_cfg: dict) -> None:
        super().__init__()
        options = dict(padding=1, norm_cfg=norm_cfg, bias=False)
        self.stem = nn.Sequential(ConvModule(3, inplanes, 3, stride=2, **options), ConvModule(inplanes, inplanes, 3, **options),
                                  ConvModule(inplanes, inplanes, 3, **options), nn.MaxPool2d(3, stride=2, padding=1))
        widths = (inplanes, 2 * inplanes, 4 * inplanes, 4 * inplanes)
        self.stages = nn.ModuleList(ConvModule(before, after, 3, stride=2, **options)
                                    for before, after in zip(widths, widths[1:]))
        self.projections = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """Returns the four maps, finest first."""
        maps = [self.stem(images_BCHW)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return [projection(map_BChw) for projection, map_BChw in zip(self.projections, maps)]


class Injector(nn.Module):
    """Tokens of the transformer read the pyramid: X + gamma Attention(norm(X), norm(pyramid)); gamma begins as 0.

    Args:
        channels: Channels of both.
        heads: Heads of the attention.
        points: Places that a head reads in each level.
        ratio: Channels of the values divided by ``channels``.
    """

    def __init__(self, channels: int, heads: int, points: int, ratio: float) -> None:
        super().__init__()
        self.query_norm, self.key_norm = _norm(channels), _norm(channels)
        self.attention = DeformableAttention(channels, heads, len(STRIDES), points, ratio)
        self.gamma = nn.Parameter(torch.zeros(channels))

    def forward(self, tokens_BNC: Tensor, pyramid_BQC: Tensor, geometry: Geometry) -> Tensor:
        """Returns the tokens of the patches, changed."""
        read_BNC = self.attention(self.query_norm(tokens_BNC), geometry.of_tokens_NL2, self.key_norm(pyramid_BQC),
                                  geometry.sizes)
        return tokens_BNC + self.gamma * read_BNC


class Extractor(nn.Module):
    """The pyramid reads tokens of the transformer, then each level passes through a feed-forward network of its own.

    Args:
        channels: Channels of both.
        heads: Heads of the attention.
        points: Places that a head reads.
        ratio: Channels of the values divided by ``channels``.
        ffn_ratio: Hidden channels of the feed-forward network divided by ``channels``.
    """

    def __init__(self, channels: int, heads: int, points: int, ratio: float, ffn_ratio: float) -> None:
        super().__init__()
        self.query_norm, self.key_norm, self.ffn_norm = _norm(channels), _norm(channels), _norm(channels)
        self.attention = DeformableAttention(channels, heads, 1, points, ratio)
        hidden = int(channels * ffn_ratio)
        self.expand, self.project = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)

    def forward(self, pyramid_BQC: Tensor, tokens_BNC: Tensor, geometry: Geometry) -> Tensor:
        """Returns the pyramid, changed."""
        pyramid_BQC = pyramid_BQC + self.attention(self.query_norm(pyramid_BQC), geometry.of_pyramid_Q12,
                                                   self.key_norm(tokens_BNC), [geometry.grid])
        hidden_BQC = self.expand(self.ffn_norm(pyramid_BQC))
        mixed = [self.depthwise(level).flatten(2).transpose(1, 2) for level in as_maps(hidden_BQC, geometry.sizes)]
        return pyramid_BQC + self.project(F.gelu(torch.cat(mixed, dim=1)))


def as_maps(pyramid_BQC: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Returns the levels of a pyramid as maps [B, C, h, w]."""
    levels = pyramid_BQC.split([rows * columns for rows, columns in sizes], dim=1)
    return [level.transpose(1, 2).unflatten(2, size) for level, size in zip(levels, sizes)]


def build_norms(norm_cfg: dict, channels: int, count: int) -> nn.ModuleList:
    """Returns norm layers."""
    return nn.ModuleList(build_norm_layer(norm_cfg, channels)[1] for _ in range(count))


def _norm(channels: int) -> nn.LayerNorm:
    return nn.LayerNorm(channels, eps=1e-6)


def _middles(size: Sequence[int], stride: int, device: torch.device) -> Tensor:
    """Returns x and y of the middle of each place in pixels, [rows * columns, 2]."""
    rows, columns = (torch.arange(count, device=device) + 0.5 for count in size)
    y, x = torch.meshgrid(rows * stride, columns * stride, indexing='ij')
    return torch.stack([x, y], dim=-1).flatten(0, 1)
