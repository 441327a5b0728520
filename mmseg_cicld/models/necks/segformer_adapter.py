"""Neck that brings coarse features of a hierarchical Transformer to a finer resolution."""
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class SegFormerAdapter(BaseModule):
    """Replaces the last feature map by enlarged copies of chosen ones, side by side in channel order.

    With it a head made for a backbone of stride 8 reads a MiT of stride 32 (DAFormer, Hoyer et al., CVPR 2022,
    tables 2 and 7).

    Args:
        out_layers: Indices of the feature maps that make up the new last one.
        scales: Factor by which each of them is enlarged bilinearly.
    """

    def __init__(self, out_layers: Sequence[int] = (3,), scales: Sequence[float] = (4,)) -> None:
        super().__init__()
        if len(out_layers) != len(scales):
            raise ValueError(f'neck.out_layers has {len(out_layers)} entries and neck.scales has {len(scales)}: give '
                             'one scale for each layer')
        self.out_layers, self.scales = tuple(out_layers), tuple(scales)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Returns the feature maps with the last one replaced."""
        enlarged = [
            resize(features[layer], scale_factor=scale, mode='bilinear', align_corners=False)
            for layer, scale in zip(self.out_layers, self.scales)
        ]
        return (*features[:-1], torch.cat(enlarged, dim=1))
