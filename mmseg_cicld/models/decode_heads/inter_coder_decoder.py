"""Decoder of CICLD: from the latent back to pixels, with the encoder's features beside it (Yu et al., 2024, 3.3)."""
from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmseg.models.utils import resize
from torch import Tensor, nn


class InterCoderDecoder(nn.Module):
    """Stages of one 1x1 convolution, each at twice the resolution of the one before.

    The first stage has the latent's resolution. A stage takes its skip beside what comes from the stage before, and
    is as much wider; without skips the stages are narrower, as in the paper's ablation.

    Args:
        latent_channels: Channels of the latent.
        skip_channels: Channels of the skips, finest first, one for each stage; none without inter-coder connection.
        channels: Channels of the stages without their skips, coarsest first.
        norm_cfg: Norm of the convolutions.
        act_cfg: Activation of the convolutions.

    Raises:
        ValueError: If there are skips, but not one for each stage.
    """

    def __init__(self, latent_channels: int, skip_channels: Sequence[int], channels: Sequence[int],
                 norm_cfg: dict | None, act_cfg: dict) -> None:
        super().__init__()
        if skip_channels and len(skip_channels) != len(channels):
            raise ValueError(f'decode_head.in_channels lists {len(skip_channels)} skips before the latent, but '
                             f'decode_head.decoder_channels has {len(channels)} stages: there is one skip a stage')
        skips = list(reversed(skip_channels)) if skip_channels else [0] * len(channels)
        self.widths = [stage + skip for stage, skip in zip(channels, skips)]
        self.connected = bool(skip_channels)
        self.stages = nn.ModuleList()
        for before, skip, width in zip([latent_channels, *self.widths], skips, self.widths):
            self.stages.append(ConvModule(before + skip, width, 1, norm_cfg=norm_cfg, act_cfg=act_cfg))

    def forward(self, latent: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Decodes a latent.

        Args:
            latent: [B, latent_channels, h, w].
            skips: Finest first, empty without inter-coder connection.

        Returns:
            [B, widths[-1], H, W] at the resolution of the finest skip.
        """
        x = latent
        for index, stage in enumerate(self.stages):
            size = skips[-1 - index].shape[2:] if self.connected else [side * 2**index for side in latent.shape[2:]]
            if x.shape[2:] != tuple(size):
                x = resize(x, size=tuple(size), mode='bilinear', align_corners=False)
            x = stage(torch.cat([x, skips[-1 - index]], dim=1) if self.connected else x)
        return x
