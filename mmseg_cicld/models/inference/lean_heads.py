"""Decode heads in the order of operations that is cheapest for prediction; weights and labels are those of training.

A 1x1 convolution and bilinear upsampling change places without a difference: what fuses upsampled levels by a 1x1
convolution convolves each level at its own size, and adds the upsampled results.

Shape suffixes: B images, C channels, H and W height and width of the finest level.
"""
from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import SegformerHead
from mmseg.models.utils import resize
from torch import Tensor, nn
from torch.nn import functional as F

from ..decode_heads.daformer_head import DAFormerHead
from ..decode_heads.fusion_layers import ASPPFusion
from .folded_norms import is_folded


class LeanSegformerHead(SegformerHead):
    """``SegformerHead`` that fuses its levels before it upsamples them; has the tensors of the stock head."""

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Returns logits [B, num_classes, H, W]."""
        embedded = [conv(level) for conv, level in zip(self.convs, self._transform_inputs(inputs))]
        fused = fused_at_own_size(embedded, self.fusion_conv, self.interpolate_mode, self.align_corners)
        return self.cls_seg(fused)


class LeanDAFormerHead(DAFormerHead):
    """``DAFormerHead`` with an :class:`LeanFusion`; has the tensors of the head of the training."""

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Returns logits [B, num_classes, H, W]."""
        embedded = [layer(level) for layer, level in zip(self.embed_layers, self._transform_inputs(inputs))]
        return self.cls_seg(self.fuse_layer(embedded))


class LeanFusion(nn.Module):
    """``ASPPFusion`` of levels at their own sizes.

    Args:
        fusion: What it does the work of, with folded norms.
    """

    def __init__(self, fusion: ASPPFusion) -> None:
        super().__init__()
        self.image_pool, self.aspp_modules, self.bottleneck = fusion.image_pool, fusion.aspp_modules, fusion.bottleneck

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Maps levels [B, C, h, w], finest first, to [B, channels, H, W]."""
        size = levels[0].shape[2:]
        stacked = torch.cat([levels[0], *(resize(level, size=size, mode='bilinear') for level in levels[1:])], dim=1)
        branches = []
        if self.image_pool is not None:
            branches = [resize(self.image_pool(stacked), size=size, mode='bilinear')]
        for module in self.aspp_modules:
            if isinstance(module, ConvModule) and module.conv.kernel_size == (1, 1) and is_folded(module):
                branches.append(fused_at_own_size(levels, module, 'bilinear', False))
            else:
                branches.append(module(stacked))
        return self.bottleneck(torch.cat(branches, dim=1))


def fused_at_own_size(levels: Sequence[Tensor], fusion: ConvModule, mode: str, align_corners: bool) -> Tensor:
    """Returns the 1x1 convolution, with folded norm, and its activation, of levels upsampled to the first and stacked."""
    total, start = None, 0
    for level in levels:
        weight = fusion.conv.weight[:, start:start + level.shape[1]]
        start += level.shape[1]
        part = resize(F.conv2d(level, weight, fusion.conv.bias if total is None else None), size=levels[0].shape[2:],
                      mode=mode, align_corners=align_corners)
        total = part if total is None else total.add_(part)
    return fusion.activate(total)
