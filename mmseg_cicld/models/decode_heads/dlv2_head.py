"""Decode head of DeepLabV2 (Chen et al., TPAMI 2018)."""
from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class DLV2Head(BaseDecodeHead):
    """Sum of parallel dilated 3x3 convolutions from features to logits, without norm, activation or dropout.

    Args:
        dilations: Dilation of each convolution: (6, 12, 18, 24) in DeepLabV2; (6, 12) in the reduced setting of
            AdaptSegNet and its successors, DAFormer's CNN results among them.
        in_channels: Channels of the feature map.
        num_classes: Number of classes.
        **kwargs: As for mmseg's ``BaseDecodeHead``, without ``channels``, ``dropout_ratio``, ``norm_cfg`` and
            ``act_cfg``, of which this head has none.

    Raises:
        ValueError: If one of those is given.
    """

    def __init__(self, dilations: Sequence[int] = (6, 12, 18, 24), *, in_channels: int, num_classes: int,
                 init_cfg: dict | None = None, **kwargs) -> None:
        useless = sorted({'channels', 'dropout_ratio', 'norm_cfg', 'act_cfg'} & set(kwargs))
        if useless:
            raise ValueError(f'DLV2Head has no hidden layer, so decode_head.{useless[0]} has no meaning: remove it')
        super().__init__(
            in_channels=in_channels, channels=1, num_classes=num_classes, dropout_ratio=0,
            init_cfg=init_cfg or dict(type='Normal', std=0.01, layer='Conv2d'), **kwargs)
        del self.conv_seg
        self.dilations = tuple(dilations)
        self.aspp_modules = nn.ModuleList([
            ConvModule(in_channels, self.out_channels, 3, padding=dilation, dilation=dilation, act_cfg=None)
            for dilation in self.dilations
        ])

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Returns logits [B, num_classes, h, w] at the resolution of the chosen feature map."""
        feature = self._transform_inputs(inputs)
        return sum(branch(feature) for branch in self.aspp_modules)
