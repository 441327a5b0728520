"""Rebuilds hidden places of feature maps from those that are left (Rebuilder of MRM, Zhou et al., CVPR 2026).

Works on the feature maps of any mmseg segmentor. Shape suffixes: B images, C channels, E width of the tokens, N tokens, g and
k height and width of their grid, h and w height and width of a feature map.
"""
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.models.utils import resize
from torch import Tensor, nn

from .diffusion.shift_encoder import FeatureLevel

SLOWEST_WAVE = 10000


class FeatureRebuilder(nn.Module):
    """Hides cells of the deepest level, lets a few transformer blocks fill them, and puts the result into every level.

    Each level keeps its own features where cells are visible; elsewhere it gets the tokens, brought to its resolution by
    transposed convolutions (ViTDet, Li et al., ECCV 2022). So only hidden places change.

    Args:
        levels: Channels and stride of the levels to rebuild, finest first; the tokens are made of the last.
        cell: Side of a token in pixels of the images.
        width: Channels of the tokens, a multiple of 4 and of ``heads``.
        heads: Attention heads of a block.
        blocks: Number of transformer blocks.

    Raises:
        ValueError: If a number does not fit.
    """

    def __init__(self, levels: Sequence[FeatureLevel], cell: int = 32, width: int = 512, heads: int = 16,
                 blocks: int = 2) -> None:
        super().__init__()
        if min(cell, width, heads, blocks) < 1 or width % 4 or width % heads:
            raise ValueError(f'the rebuilder got cell={cell}, width={width}, heads={heads}, blocks={blocks}: all are at '
                             'least 1, width is a multiple of 4 and of heads')
        self.embedding = nn.Conv2d(levels[-1].channels, width, 1)
        self.mask_token = nn.Parameter(torch.empty(1, width, 1, 1))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0, activation='gelu', layer_norm_eps=1e-5,
                                       batch_first=True, norm_first=True) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.projectors = nn.ModuleList(_projector(width, level, cell) for level in levels)
        self._init_weights()

    def _init_weights(self) -> None:
        nn.init.normal_(self.mask_token, std=0.02)
        for name, parameter in [*self.embedding.named_parameters(), *self.blocks.named_parameters()]:
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter.flatten(1))
            elif name.endswith('bias'):
                nn.init.zeros_(parameter)

    def forward(self, features: Sequence[Tensor], visible_B1gk: Tensor) -> tuple[Tensor, ...]:
        """Rebuilds the hidden cells of feature maps.

        Args:
            features: Maps [B, C, h, w] of the levels, finest first.
            visible_B1gk: 1 for cells that are kept, 0 for those that are hidden.

        Returns:
            Maps of the same shapes: equal where cells are visible.
        """
        visible_B1gk = visible_B1gk.to(features[-1].dtype)
        tokens_BEgk = _resized(self.embedding(features[-1]), visible_B1gk.shape[2:])
        tokens_BEgk = tokens_BEgk * visible_B1gk + self.mask_token * (1 - visible_B1gk)
        tokens_BNE = tokens_BEgk.flatten(2).transpose(1, 2)
        tokens_BNE = tokens_BNE + positions(visible_B1gk.shape[2:], tokens_BNE)
        for block in self.blocks:
            tokens_BNE = block(tokens_BNE)
        tokens_BEgk = self.norm(tokens_BNE).transpose(1, 2).unflatten(2, visible_B1gk.shape[2:])
        return tuple(_replaced(level, projector(tokens_BEgk), visible_B1gk)
                     for level, projector in zip(features, self.projectors, strict=True))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of a map [B, C, h, w], at each place by itself."""

    def forward(self, maps: Tensor) -> Tensor:
        """Returns the normalised map."""
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _projector(width: int, level: FeatureLevel, cell: int) -> nn.Sequential:
    """Doubles the resolution of the tokens as often as the level is finer, with half the channels each time."""
    layers: list[nn.Module] = []
    doublings = max(0, round(math.log2(cell / level.stride)))
    for index in range(doublings):
        if index:
            layers += [ChannelNorm(width), nn.GELU()]
        narrower = max(width // 2, 4) if index < 2 else width
        layers.append(nn.ConvTranspose2d(width, narrower, 4, stride=2, padding=1))
        width = narrower
    return nn.Sequential(*layers, nn.Conv2d(width, level.channels, 1), ChannelNorm(level.channels))


def _replaced(feature_BChw: Tensor, rebuilt_BCgk: Tensor, visible_B1gk: Tensor) -> Tensor:
    visible_B1hw = F.interpolate(visible_B1gk, size=feature_BChw.shape[2:], mode='nearest')
    return feature_BChw * visible_B1hw + _resized(rebuilt_BCgk, feature_BChw.shape[2:]) * (1 - visible_B1hw)


def positions(grid: Sequence[int], like: Tensor) -> Tensor:
    """Returns sines and cosines of row and column (MAE, He et al., CVPR 2022), [N, E] for tokens ``like`` [B, N, E].

    The first half of the channels tells the column, the second the row.
    """
    waves = like.shape[2] // 4
    frequencies = SLOWEST_WAVE ** -(torch.arange(waves, device=like.device, dtype=torch.float64) / waves)
    rows, columns = (torch.arange(side, device=like.device, dtype=torch.float64) for side in grid)
    parts = []
    for places in (columns.repeat(grid[0]), rows.repeat_interleave(grid[1])):
        phases_NW = places[:, None] * frequencies
        parts += [phases_NW.sin(), phases_NW.cos()]
    return torch.cat(parts, dim=1).to(like.dtype)


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    return maps if maps.shape[2:] == tuple(size) else resize(maps, size=tuple(size), mode='bilinear', align_corners=False)
