"""Neck that makes a pyramid of the one resolution of a plain vision transformer (ViTDet, Li et al., ECCV 2022, section 3).

Shape suffixes: B images, C channels, h and w size of a map.
"""
from collections.abc import Sequence

from mmengine.model import BaseModule, ModuleList
from mmseg.models.utils import LayerNorm2d
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """Makes maps of 4, 2, 1 and 1/2 times the resolution of a map: strides 4, 8, 16 and 32 for patches of 16.

    The finer ones come from transposed convolutions of stride 2, the coarsest from max pooling; then a 1 x 1 and a 3 x 3
    convolution, each with a layer norm over channels, bring every level to the same width.

    Args:
        in_channels: Channels of the map.
        out_channels: Channels of each level.
        in_index: Which map of the backbone is read, -1 for the last, as in the paper. A list of four gives each level,
            finest first, a map of its own, which a frozen transformer has use for.
        init_cfg: mmengine initialisation.

    Raises:
        ValueError: If ``in_index`` lists another number than four.
    """

    def __init__(self, in_channels: int, out_channels: int = 256, in_index: int | Sequence[int] = -1,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.in_index = (in_index, ) * 4 if isinstance(in_index, int) else tuple(in_index)
        if len(self.in_index) != 4:
            raise ValueError(f'neck.in_index lists {len(self.in_index)} maps: give one, or four, finest level first')
        half, quarter = in_channels // 2, in_channels // 4
        resized = (
            nn.Sequential(_twice(in_channels, half), LayerNorm2d(half), nn.GELU(), _twice(half, quarter)),
            _twice(in_channels, half), nn.Identity(), nn.MaxPool2d(2, ceil_mode=True))
        self.levels = ModuleList(
            nn.Sequential(resize, nn.Conv2d(width, out_channels, 1, bias=False), LayerNorm2d(out_channels),
                          nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False), LayerNorm2d(out_channels))
            for resize, width in zip(resized, (quarter, half, in_channels, in_channels)))

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Returns four levels [B, out_channels, h, w], finest first."""
        return tuple(level(features[index]) for level, index in zip(self.levels, self.in_index))


def _twice(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
