"""Multi-scale deformable attention (Deformable DETR, Zhu et al., ICLR 2021, section 4.1) in plain torch.

Shape suffixes: B images, Q queries, N keys of all levels, C channels, M heads, L levels, K points, h and w size of a level.
"""
import math
from collections.abc import Sequence

import torch
from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch
from torch import Tensor, nn


class DeformableAttention(nn.Module):
    """Each query reads a few places of each level around its own, by learnt offsets and weights.

    The sampling is mmcv's own function over ``grid_sample``, which needs no compiled operator.

    Args:
        channels: Channels C of queries and keys.
        heads: Number of heads.
        levels: Number of levels that are read.
        points: Places that a head reads in each level.
        ratio: Channels of the values divided by ``channels``.

    Raises:
        ValueError: If the values cannot be divided among the heads.
    """

    def __init__(self, channels: int, heads: int, levels: int, points: int = 4, ratio: float = 1.0) -> None:
        super().__init__()
        width = int(channels * ratio)
        if width % heads:
            raise ValueError(f'{width} channels of values cannot be divided among {heads} heads: change head_channels or '
                             'deform_ratio')
        self.heads, self.levels, self.points = heads, levels, points
        self.offsets = nn.Linear(channels, heads * levels * points * 2)
        self.weights = nn.Linear(channels, heads * levels * points)
        self.values, self.output = nn.Linear(channels, width), nn.Linear(width, channels)
        self.init_weights()

    def init_weights(self) -> None:
        """Begins with even weights, and offsets that point from each place in a direction of their head's own."""
        for layer in (self.offsets, self.weights):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.weights.bias)
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions_M2 = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions_M2 = directions_M2 / directions_M2.abs().amax(dim=-1, keepdim=True)
        steps_K = torch.arange(1, self.points + 1)
        with torch.no_grad():
            self.offsets.bias.copy_((directions_M2[:, None, None] * steps_K[:, None]).expand(
                -1, self.levels, -1, -1).flatten())
        for layer in (self.values, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, queries_BQC: Tensor, places_QL2: Tensor, keys_BNC: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Returns what the queries read, [B, Q, C].

        Args:
            queries_BQC: The queries.
            places_QL2: Where each of them lies in each level: x and y, 0 and 1 being the outer edges of the level.
            keys_BNC: The levels, one after the other, each row by row.
            sizes: Height and width of each level.
        """
        values_BNMC = self.values(keys_BNC).unflatten(2, (self.heads, -1))
        shape = (self.heads, self.levels, self.points)
        weights_BQMLK = self.weights(queries_BQC).unflatten(2, (self.heads, -1)).softmax(dim=-1).unflatten(3, shape[1:])
        offsets_BQMLK2 = self.offsets(queries_BQC).unflatten(2, (*shape, 2))
        scale_L2 = places_QL2.new_tensor([(width, height) for height, width in sizes])
        locations = places_QL2[None, :, None, :, None] + offsets_BQMLK2 / scale_L2[:, None]
        read_BQC = multi_scale_deformable_attn_pytorch(values_BNMC, sizes, locations.to(values_BNMC),
                                                       weights_BQMLK.to(values_BNMC))
        return self.output(read_BQC)
