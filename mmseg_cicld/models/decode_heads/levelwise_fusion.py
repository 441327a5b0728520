"""Joining feature levels of different sizes at that of the finest.

A 1x1 convolution and bilinear upsampling change places without a difference: what convolves upsampled and stacked
levels convolves each level at its own size, and adds the upsampled results. That takes a third of the multiplications,
and the stack is not in memory.

Shape suffixes: B images, C channels.
"""
from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmseg.models.utils import resize
from torch import Tensor, nn
from torch.nn import functional as F


def stacked(levels: Sequence[Tensor]) -> Tensor:
    """Returns maps [B, C, h, w], finest first, stacked along the channels after bilinear upsampling to the first."""
    size = levels[0].shape[2:]
    upsampled = [resize(level, size=size, mode='bilinear', align_corners=False) for level in levels[1:]]
    return torch.cat([levels[0], *upsampled], dim=1)


def is_pointwise(layer: nn.Module) -> bool:
    """Tells whether :func:`fused_at_own_size` computes a layer: a 1x1 convolution, then its norm and activation."""
    return isinstance(layer, ConvModule) and layer.conv.kernel_size == (1, 1) and layer.order == ('conv', 'norm', 'act')


def fused_at_own_size(levels: Sequence[Tensor], fusion: ConvModule, mode: str, align_corners: bool) -> Tensor:
    """Returns what a 1x1 convolution with its norm and activation makes of levels upsampled to the first and stacked.

    Args:
        levels: Maps [B, C, h, w], finest first.
        fusion: The convolution, of as many channels as the levels have together.
        mode: Of the upsampling, one that is linear in the pixels.
        align_corners: Of the upsampling.
    """
    size, start, total = levels[0].shape[2:], 0, None
    for level in levels:
        weight = fusion.conv.weight[:, start:start + level.shape[1]]
        start += level.shape[1]
        part = F.conv2d(level, weight, fusion.conv.bias if total is None else None)
        if total is None:
            total = part
        else:
            total.add_(resize(part, size=size, mode=mode, align_corners=align_corners))
    total = fusion.norm(total) if fusion.with_norm else total
    return fusion.activate(total) if fusion.with_activation else total
