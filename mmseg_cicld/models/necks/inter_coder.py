"""Neck of CICLD: the latent that is diffused, and the inter-coder connection (Yu et al., 2024, section 3.3)."""
from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class InterCoderNeck(BaseModule):
    """Turns the features of any backbone into one skip for each decoder stage, and a latent.

    A skip is a 1x1 convolution of its level with norm and ReLU, so that levels of whatever scale weigh the same
    beside the latent.

    The latent has the stride of level ``latent_index``; that level and all coarser ones, enlarged, make it together.
    Each image's latent is normalised to mean zero and variance one, because diffusion adds noise of variance one: an
    encoder that may scale its latent freely would make that noise mean nothing.

    Args:
        in_channels: Channels of the backbone's feature levels, finest first.
        latent_channels: Channels of the latent.
        latent_index: Level whose stride the latent has, 0 for the finest.
        skip_channels: Channels of the skips, finest first: one for each level from 0 to ``latent_index``. Not used
            without ``connect``.
        connect: Whether there are skips; without them it is the paper's ablation.
        norm_cfg: Norm of the skips, None for batch norm.
        init_cfg: mmengine initialisation.

    Raises:
        ValueError: If ``latent_index`` is no level, or the number of skips does not fit it.
    """

    def __init__(self, in_channels: Sequence[int], latent_channels: int, latent_index: int,
                 skip_channels: Sequence[int], connect: bool = True,
                 norm_cfg: dict | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if not 0 <= latent_index < len(in_channels):
            raise ValueError(f'neck.latent_index is {latent_index}, but neck.in_channels lists {len(in_channels)} '
                             f'levels: allowed are 0 to {len(in_channels) - 1}')
        if connect and len(skip_channels) != latent_index + 1:
            raise ValueError(f'neck.skip_channels has {len(skip_channels)} entries; a latent at level {latent_index} '
                             f'takes {latent_index + 1}, one for each level from the finest to that of the latent')
        self.in_channels, self.latent_index = tuple(in_channels), latent_index
        widths = skip_channels if connect else ()
        self.skips = nn.ModuleList(ConvModule(level, width, 1, norm_cfg=norm_cfg or dict(type='BN'))
                                   for level, width in zip(in_channels, widths))
        self.latent = nn.Conv2d(sum(in_channels[latent_index:]), latent_channels, 1)
        self.latent_norm = nn.GroupNorm(1, latent_channels, affine=False)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Returns the skips, finest first, then the latent [B, latent_channels, h, w].

        Raises:
            ValueError: If the backbone gives other levels than ``in_channels`` says.
        """
        found = tuple(level.shape[1] for level in features)
        if found != self.in_channels:
            raise ValueError(f'the backbone gives levels of {found} channels, but neck.in_channels is '
                             f'{self.in_channels}: set neck.in_channels to the former')
        skips = [skip(level) for skip, level in zip(self.skips, features)]
        size = features[self.latent_index].shape[2:]
        levels = [features[self.latent_index]]
        levels += [resize(level, size=size, mode='bilinear', align_corners=False)
                   for level in features[self.latent_index + 1:]]
        return (*skips, self.latent_norm(self.latent(torch.cat(levels, dim=1))))
