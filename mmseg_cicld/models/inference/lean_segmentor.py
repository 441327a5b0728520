"""A copy of a segmentor that only predicts, in the form that takes least time; labels stay the same.

Logits differ by rounding alone (1e-5 of their size), so a label can differ where two classes tie within that.
"""
import copy

import torch
from mmengine.model import revert_sync_batchnorm
from mmseg.models.backbones.mit import EfficientMultiheadAttention
from mmseg.models.decode_heads import SegformerHead
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn

from ..backbones.fused_mix_vision_transformer import FusedEfficientAttention
from ..decode_heads.daformer_head import DAFormerHead
from ..decode_heads.fusion_layers import ASPPFusion
from ..decode_heads.levelwise_segformer_head import LevelwiseSegformerHead
from .folded_norms import fold_norms
from .lean_heads import LeanDAFormerHead, LeanFusion

WINDOWS = 4
"""Windows of ``test_cfg.mode='slide'`` that go through the network at once."""


class LeanEncoderDecoder(EncoderDecoder):
    """``EncoderDecoder`` whose sliding windows go through the network in batches; has the stock tensors."""

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Returns logits [B, C, H, W]: the mean, at each pixel, of the windows that hold it; see mmseg.

        Args:
            inputs: Normalised images [B, 3, H, W].
            batch_img_metas: As mmseg gives them.
        """
        size = [min(side, whole) for side, whole in zip(self.test_cfg.crop_size, inputs.shape[2:])]
        places = [(top, left) for top in _starts(inputs.shape[2], size[0], self.test_cfg.stride[0])
                  for left in _starts(inputs.shape[3], size[1], self.test_cfg.stride[1])]
        total_BCHW = inputs.new_zeros(len(inputs), self.out_channels, *inputs.shape[2:])
        count_HW = inputs.new_zeros(inputs.shape[2:])
        metas = [dict(batch_img_metas[0], img_shape=torch.Size(size))]
        for first in range(0, len(places), WINDOWS):
            chosen = [(..., slice(top, top + size[0]), slice(left, left + size[1]))
                      for top, left in places[first:first + WINDOWS]]
            logits = self.encode_decode(torch.cat([inputs[window] for window in chosen]), metas * len(chosen))
            for window, part in zip(chosen, logits.split(len(inputs))):
                total_BCHW[window] += part
                count_HW[window] += 1
        return total_BCHW / count_HW


def lean_segmentor(segmentor: nn.Module) -> nn.Module:
    """Returns a copy that predicts the same in less time, in evaluation mode and without gradients.

    Batch norms are folded into convolutions, attention is fused, ``SegformerHead`` and ``DAFormerHead`` fuse their
    levels before they upsample them, windows are batched, and memory is laid out channels-last.

    Args:
        segmentor: Any mmseg segmentor; parts that are not known here stay as they are.
    """
    lean = revert_sync_batchnorm(copy.deepcopy(segmentor)).eval().requires_grad_(False)
    fold_norms(lean)
    if type(lean) is EncoderDecoder:
        lean.__class__ = LeanEncoderDecoder
    for module in lean.modules():
        if type(module) is EfficientMultiheadAttention:
            module.__class__ = FusedEfficientAttention  # without its constructor: norm constants stay
        elif type(module) is SegformerHead:
            module.__class__ = LevelwiseSegformerHead
        elif type(module) is DAFormerHead and type(module.fuse_layer) is ASPPFusion:
            module.__class__, module.fuse_layer = LeanDAFormerHead, LeanFusion(module.fuse_layer)
    return lean.to(memory_format=torch.channels_last)


def _starts(whole: int, side: int, stride: int) -> list[int]:
    """Returns where mmseg's windows begin; the last one ends with the image."""
    return [min(index * stride, whole - side) for index in range(max(whole - side + stride - 1, 0) // stride + 1)]
