"""Reconstruction of noise or of the clean image from features of a degraded one (h' of DiDA).

Shape suffixes: B images, C channels, H and W size of the target, h and w feature size.
"""
from collections.abc import Sequence

import torch.nn.functional as F
from mmseg.models.utils import resize
from torch import Tensor, nn

from .shift_encoder import FeatureLevel

WIDTH = 128
GROUPS = 8


class ReconstructionHead(nn.Module):
    """Fuses all feature levels and predicts a picture, several pixels for each feature if need be.

    The levels meet at the finest one that is not finer than the target.

    Args:
        levels: The feature levels, finest first.
        target_stride: Pixels of the image for each pixel of the target.
        out_channels: Channels of the picture.
    """

    def __init__(self, levels: Sequence[FeatureLevel], target_stride: int, out_channels: int) -> None:
        super().__init__()
        coarse_enough = [index for index, level in enumerate(levels) if level.stride >= target_stride]
        self.meeting = coarse_enough[0] if coarse_enough else len(levels) - 1
        factor = max(1, round(levels[self.meeting].stride / target_stride))
        self.lateral = nn.ModuleList(nn.Conv2d(level.channels, WIDTH, 1) for level in levels)
        self.fusion = nn.Sequential(
            nn.GroupNorm(GROUPS, WIDTH), nn.GELU(), nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.GroupNorm(GROUPS, WIDTH), nn.GELU(), nn.Conv2d(WIDTH, out_channels * factor**2, 1),
            nn.PixelShuffle(factor))

    def forward(self, features: tuple[Tensor, ...], size: tuple[int, int]) -> Tensor:
        """Returns the picture [B, C, H, W] of the given size."""
        sides = features[self.meeting].shape[2:]
        # Finer levels shrink before their layer, coarser ones grow after it: that is less work.
        features = [_resized(feature, sides) for feature in features[:self.meeting]] + list(features[self.meeting:])
        fused_BChw = sum(_resized(layer(feature), sides) for layer, feature in zip(self.lateral, features, strict=True))
        return _resized(self.fusion(fused_BChw), size)


class LogitReconstruction(nn.Module):
    """Predicts the picture from the segmentor's logits: the reconstruction without a head of its own.

    Args:
        num_classes: Channels of the logits.
        out_channels: Channels of the picture.
    """

    def __init__(self, num_classes: int, out_channels: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(num_classes, out_channels, 1)

    def forward(self, logits_BChw: Tensor, size: tuple[int, int]) -> Tensor:
        """Returns the picture [B, C, H, W] of the given size."""
        return _resized(self.projection(logits_BChw), size)


def shrink_target(target_BCHW: Tensor, stride: int) -> Tensor:
    """Averages a target over squares of ``stride`` pixels."""
    return target_BCHW if stride == 1 else F.avg_pool2d(target_BCHW, stride)


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    if maps.shape[2:] == tuple(size):
        return maps
    return resize(maps, size=tuple(size), mode='bilinear', align_corners=False)
