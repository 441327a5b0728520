"""Decode heads in the order of operations that is cheapest for prediction; weights and labels are those of training.

Shape suffixes: B images, C channels, H and W height and width of the finest level, y and x place in a phase, P pixels.
"""
from collections.abc import Sequence

import torch
from mmseg.models.utils import resize
from torch import Tensor, nn
from torch.nn import functional as F

from ..decode_heads.daformer_head import DAFormerHead
from ..decode_heads.fusion_layers import ASPPFusion, SeparableConv
from ..decode_heads.levelwise_fusion import fused_at_own_size, is_pointwise, stacked
from ..export_tracing import is_exported
from .folded_norms import is_folded
from .winograd import WinogradConvolution, fits


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
        quick = fits(fusion.bottleneck.conv) and is_folded(fusion.bottleneck)
        self.winograd = WinogradConvolution(fusion.bottleneck.conv) if quick else None

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Maps levels [B, C, h, w], finest first, to [B, channels, H, W]."""
        size = levels[0].shape[2:]
        x_BCHW = stacked(levels)
        plain = is_exported() or x_BCHW.is_cuda or x_BCHW.requires_grad
        branches = []
        if self.image_pool is not None:
            branches = [resize(self.image_pool(x_BCHW), size=size, mode='bilinear')]
        for module in self.aspp_modules:
            if is_pointwise(module):
                branches.append(fused_at_own_size(levels, module, 'bilinear', False))
            elif isinstance(module, SeparableConv) and is_phased(module) and not plain:
                branches.append(separable_by_phases(x_BCHW, module))
            else:
                branches.append(module(x_BCHW))
        if self.winograd is None or plain or x_BCHW.dtype != torch.float32:
            return self.bottleneck(torch.cat(branches, dim=1))
        return self.bottleneck.activate(self.winograd(branches))


def is_phased(module: SeparableConv) -> bool:
    """Tells whether :func:`separable_by_phases` computes this module: its norms are folded, its convolution dilated."""
    parts = (module.depthwise_conv, module.pointwise_conv)
    return module.depthwise_conv.conv.dilation[0] > 1 and all(is_folded(part) and part.with_activation for part in parts)


def separable_by_phases(x_BCHW: Tensor, module: SeparableConv) -> Tensor:
    """Returns what a dilated separable convolution does, phase by phase: pixels a dilation apart are a map of their own.

    The 1x1 convolution works on the phases too, so that only its fewer channels are joined, and one row of phases is
    handled at a time, which stays in the caches.
    """
    depthwise, pointwise = module.depthwise_conv, module.pointwise_conv
    dilation, (batch, channels, height, width) = depthwise.conv.dilation[0], x_BCHW.shape
    rows, columns = -(-height // dilation), -(-width // dilation)
    x_BHWC = x_BCHW.permute(0, 2, 3, 1)
    weight_OC = pointwise.conv.weight[:, :, 0, 0]
    out_BHWO = x_BCHW.new_empty(batch, height, width, len(weight_OC))
    phases = x_BCHW.new_zeros(dilation, batch, rows, columns, channels)
    for top in range(min(dilation, height)):
        filled = len(range(top, height, dilation))
        phases[:, :, filled:] = 0
        for left in range(min(dilation, width)):
            part = x_BHWC[:, top::dilation, left::dilation]
            phases[left, :, :filled, :part.shape[2]] = part
        maps = F.conv2d(phases.flatten(0, 1).permute(0, 3, 1, 2), depthwise.conv.weight, depthwise.conv.bias, padding=1,
                        groups=channels)
        pixels_PC = depthwise.activate(maps).permute(0, 2, 3, 1).reshape(-1, channels)
        joined = pointwise.activate(F.linear(pixels_PC, weight_OC, pointwise.conv.bias)).view(*phases.shape[:-1], -1)
        for left in range(min(dilation, width)):
            target = out_BHWO[:, top::dilation, left::dilation]
            target.copy_(joined[left, :, :filled, :target.shape[2]])
    return out_BHWO.permute(0, 3, 1, 2)
