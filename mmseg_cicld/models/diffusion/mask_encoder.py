"""The mask encoder f_mask of CICLD (Yu et al., 2024, section 3.3).

Shape suffixes: B samples, K classes, C channels, H and W size of a label map, h and w size of a grid of places,
M tokens, one for each place of a grid.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from mmseg.utils import get_palette
from torch import Tensor, nn


def class_shares(labels_BHW: Tensor, num_classes: int, size: tuple[int, int], ignore_index: int) -> Tensor:
    """Returns the share in [0, 1] of each class in the pixels of each place, [B, K, h, w].

    Ignored pixels belong to no class, so the shares of a place sum up to the share of its pixels that count.

    Args:
        labels_BHW: int64 class ids.
        num_classes: Number of classes.
        size: Height and width of the grid.
        ignore_index: Label of pixels that do not count.
    """
    labels_BHW = torch.where(labels_BHW == ignore_index, num_classes, labels_BHW)
    one_hot = torch.zeros((labels_BHW.shape[0], num_classes + 1, *labels_BHW.shape[1:]), device=labels_BHW.device)
    return F.adaptive_avg_pool2d(one_hot.scatter_(1, labels_BHW[:, None], 1), size)[:, :-1]


@MODELS.register_module()
class ClassEmbeddingMaskEncoder(BaseModule):
    """A learned embedding for each class, averaged over each place of the grid.

    A place without a pixel that counts gives a zero token, which is the null condition.

    Args:
        num_classes: Number of classes.
        channels: Channels of a token.
        ignore_index: Label of pixels that do not count.
    """

    def __init__(self, num_classes: int, channels: int, ignore_index: int = 255) -> None:
        super().__init__()
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.embedding = nn.Linear(num_classes, channels, bias=False)

    def forward(self, labels_BHW: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps a label map to tokens [B, h * w, channels]."""
        shares_BKhw = class_shares(labels_BHW, self.num_classes, size, self.ignore_index)
        return self.embedding(shares_BKhw.to(self.embedding.weight.dtype).flatten(2).transpose(1, 2))


@MODELS.register_module()
class ColourMaskEncoder(BaseModule):
    """The paper's: a picture of the mask in colours goes through a frozen encoder that was trained on ImageNet.

    Ignored pixels are black, and a place without a pixel that counts gives a zero token. Only the projection to the
    tokens learns.

    Args:
        backbone: Config of any mmseg backbone, with an ``init_cfg`` that loads its weights. Its last features are used.
        backbone_channels: Their channels.
        num_classes: Number of classes.
        channels: Channels of a token.
        palette: Name of a dataset that mmseg has a palette of, or an RGB colour (0 to 255) for each class.
        render_size: Height and width of the picture, whatever the size of the mask.
        ignore_index: Label of pixels that do not count.

    Raises:
        ValueError: If the palette has another number of colours than there are classes.
    """

    MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet

    def __init__(self, backbone: dict, backbone_channels: int, num_classes: int, channels: int,
                 palette: str | Sequence[Sequence[int]] = 'cityscapes', render_size: tuple[int, int] = (256, 256),
                 ignore_index: int = 255) -> None:
        super().__init__()
        colours = get_palette(palette) if isinstance(palette, str) else palette
        if len(colours) != num_classes:
            raise ValueError(f'decode_head.mask_encoder.palette has {len(colours)} colours for {num_classes} classes: '
                             'give one RGB colour a class')
        self.num_classes, self.ignore_index, self.render_size = num_classes, ignore_index, tuple(render_size)
        self.backbone = MODELS.build(backbone)
        self.backbone.requires_grad_(False)
        self.projection = nn.Linear(backbone_channels, channels, bias=False)
        table = torch.cat([torch.tensor(colours, dtype=torch.float32), torch.zeros(1, 3)])
        table = (table - torch.tensor(self.MEAN)) / torch.tensor(self.STD)
        self.register_buffer('colours', table, persistent=False)  # the last one is that of ignored pixels
        self.train()

    def train(self, mode: bool = True) -> 'ColourMaskEncoder':
        """Sets the mode; the frozen encoder stays in evaluation mode."""
        super().train(mode)
        self.backbone.train(False)
        return self

    def render(self, labels_BHW: Tensor) -> Tensor:
        """Returns the normalised picture [B, 3, *render_size] of a label map."""
        small = F.interpolate(labels_BHW[:, None].float(), size=self.render_size, mode='nearest')[:, 0].long()
        ids_BHW = torch.where(small == self.ignore_index, self.num_classes, small)
        return self.colours[ids_BHW].permute(0, 3, 1, 2)

    def forward(self, labels_BHW: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps a label map to tokens [B, h * w, channels]."""
        with torch.no_grad():
            features_BChw = F.adaptive_avg_pool2d(self.backbone(self.render(labels_BHW))[-1], size)
            shares_BKhw = class_shares(labels_BHW, self.num_classes, size, self.ignore_index)
        counts_BM = shares_BKhw.sum(dim=1).flatten(1) > 0
        return self.projection(features_BChw.flatten(2).transpose(1, 2)) * counts_BM[..., None]
