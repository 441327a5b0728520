"""SegFormer's head with its 1x1 fusion at the size of each level: a third of the multiplications, the same numbers.

A 1x1 convolution and bilinear upsampling change places without a difference: what fuses upsampled and stacked levels
convolves each level at its own size, and adds the upsampled results. The stack is never in memory.

Shape suffixes: B images, C channels, H and W height and width of the finest level.
"""
from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import SegformerHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F


@MODELS.register_module()
class LevelwiseSegformerHead(SegformerHead):
    """``SegformerHead`` that fuses its levels before it upsamples them; arguments and tensors are those of the stock head."""

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Returns logits [B, num_classes, H, W]."""
        embedded = [conv(level) for conv, level in zip(self.convs, self._transform_inputs(inputs))]
        return self.cls_seg(fused_at_own_size(embedded, self.fusion_conv, self.interpolate_mode, self.align_corners))


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
    return fusion.activate(fusion.norm(total) if fusion.with_norm else total)
