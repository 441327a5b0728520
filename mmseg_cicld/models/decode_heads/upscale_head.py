"""Light decoder of VFM-UDA++ (Englert et al., 2025): from the coarsest of four levels up, with few channels.

Shape suffixes: B images, C channels, h and w size of a level.
"""
from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class UpscaleHead(BaseDecodeHead):
    """Doubles the resolution three times, halves the channels each time, and adds the next finer level by a 1 x 1.

    After each addition comes a 3 x 3 convolution with norm and ReLU, after the last one another 3 x 3 convolution. The
    classifier has no bias and begins as N(0, 0.1).

    Args:
        in_channels: Channels of four levels, finest first; an eighth of those of the last is the decoder's width.
        in_index: Which levels these are.
        norm_cfg: Norm layers. VFM-UDA++ has ``dict(type='SyncBN', momentum=0.01)``, which needs more than one process.
        dropout_ratio: Of the channels before the classifier, none in VFM-UDA++.
        init_cfg: mmengine initialisation.
        **kwargs: As for mmseg's ``BaseDecodeHead``.

    Raises:
        ValueError: If there are not four levels, or the channels of the last are no multiple of 8.
    """

    def __init__(self, *, in_channels: Sequence[int], in_index: Sequence[int] = (0, 1, 2, 3), norm_cfg: dict | None = None,
                 dropout_ratio: float = 0.0, init_cfg: dict | None = None, **kwargs) -> None:
        if len(in_channels) != 4 or in_channels[-1] % 8:
            raise ValueError(f'decode_head.in_channels is {list(in_channels)}: UpscaleHead takes four levels, the last with '
                             'a multiple of 8 channels')
        norm_cfg = norm_cfg or dict(type='BN', momentum=0.01)
        init_cfg = init_cfg or dict(type='Normal', std=0.1, override=dict(name='conv_seg'))
        super().__init__(in_channels=list(in_channels), in_index=list(in_index), channels=in_channels[-1] // 8,
                         input_transform='multiple_select', norm_cfg=norm_cfg, dropout_ratio=dropout_ratio,
                         init_cfg=init_cfg, **kwargs)
        widths = [self.in_channels[-1] // factor for factor in (1, 2, 4, 8)]
        pairs = list(zip(widths, widths[1:]))
        self.up = nn.ModuleList(nn.ConvTranspose2d(before, after, 2, stride=2) for before, after in pairs)
        self.lateral = nn.ModuleList(nn.Conv2d(channels, after, 1)
                                     for channels, (_, after) in zip(self.in_channels[-2::-1], pairs))
        self.smooth = nn.ModuleList(ConvModule(after, after, 3, padding=1, norm_cfg=norm_cfg) for _, after in pairs)
        self.last = nn.Conv2d(self.channels, self.channels, 3, padding=1)
        self.conv_seg = nn.Conv2d(self.channels, self.out_channels, 1, bias=False)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Returns logits [B, num_classes, h, w] at the resolution of the finest level."""
        *finer, features = self._transform_inputs(inputs)
        for up, lateral, smooth, level in zip(self.up, self.lateral, self.smooth, reversed(finer)):
            rows, columns = level.shape[2:]
            features = smooth(up(features)[:, :, :rows, :columns] + lateral(level))
        return self.cls_seg(self.last(features))
