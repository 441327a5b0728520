"""Layers that a DAFormer head is put together from (DAFormer, Hoyer et al., CVPR 2022, figure 3 and table 7).

Shape suffixes: B images, C channels, H and W height and width, N pixels.
"""
from collections.abc import Callable, Sequence

import torch
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmseg.models.decode_heads.aspp_head import ASPPModule
from mmseg.models.utils import SelfAttentionBlock, resize
from torch import Tensor, nn
from torch.nn import functional as F

from .computed_again import computed_again
from .dilated_depthwise_convolution import DilatedDepthwiseConv2d
from .levelwise_fusion import fused_at_own_size, is_pointwise, stacked
from .winograd_convolution import WinogradConv2d


class PixelLinear(nn.Module):
    """One linear layer for each pixel of a map.

    Args:
        in_channels: Channels of the input map.
        out_channels: Channels of the output map.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_channels, out_channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Maps [B, in_channels, H, W] to [B, out_channels, H, W], which lies in memory as channels-last."""
        return self.proj(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SeparableConv(nn.Module):
    """Dilated 3x3 convolution of each channel, then a 1x1 convolution, both with norm and activation.

    Tensor names are those of mmcv's ``DepthwiseSeparableConvModule``.

    Args:
        in_channels: Channels of the input map.
        channels: Channels of the output map.
        dilation: Dilation, and padding, of the 3x3 convolution.
        norm_cfg: Norm of both convolutions.
        act_cfg: Activation of both convolutions.
    """

    def __init__(self, in_channels: int, channels: int, dilation: int, norm_cfg: dict | None, act_cfg: dict) -> None:
        super().__init__()
        self.depthwise_conv = ConvModule(in_channels, in_channels, 3, padding=dilation, dilation=dilation,
                                         groups=in_channels, conv_cfg=dict(type=DilatedDepthwiseConv2d),
                                         norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.pointwise_conv = ConvModule(in_channels, channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Maps [B, in_channels, H, W] to [B, channels, H, W]."""
        return self.pointwise_conv(computed_again(self.depthwise_conv, x_BCHW))


class ASPPFusion(nn.Module):
    """Parallel dilated convolutions, joined by a 3x3 convolution.

    Args:
        in_channels: Channels of the input map.
        channels: Channels of each branch and of the output.
        dilations: Dilation of each branch; a branch of dilation 1 is a 1x1 convolution.
        sep: Whether the dilated branches are depthwise separable.
        pool: Whether a branch of globally pooled features is added in front.
        norm_cfg: Norm of every convolution.
        act_cfg: Activation of every convolution.
    """

    def __init__(self, in_channels: int, channels: int, dilations: Sequence[int], sep: bool, pool: bool,
                 norm_cfg: dict | None, act_cfg: dict) -> None:
        super().__init__()
        common = dict(conv_cfg=None, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.image_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), ConvModule(in_channels, channels, 1, **common)) if pool else None
        self.aspp_modules = ASPPModule(tuple(dilations), in_channels, channels, **common)
        for index, dilation in enumerate(dilations if sep else ()):
            if dilation > 1:
                self.aspp_modules[index] = SeparableConv(in_channels, channels, dilation, norm_cfg, act_cfg)
        self.bottleneck = ConvModule((len(dilations) + pool) * channels, channels, 3, padding=1,
                                     **dict(common, conv_cfg=dict(type=WinogradConv2d)))

    def forward(self, *levels_BChw: Tensor) -> Tensor:
        """Maps levels, finest first, of in_channels together, to [B, channels, H, W] of the size of the first."""
        x_BCHW = stacked(levels_BChw)
        branches = [fused_at_own_size(levels_BChw, module, 'bilinear', False) if is_pointwise(module) else module(x_BCHW)
                    for module in self.aspp_modules]
        if self.image_pool is not None:
            branches = [resize(self.image_pool(x_BCHW), size=x_BCHW.shape[2:], mode='bilinear'), *branches]
        return self.bottleneck(torch.cat(branches, dim=1))


class GroupAttention(SelfAttentionBlock):
    """Self-attention within one map, with a convolution after it (ISA, Huang et al., 2019).

    Args:
        channels: Channels of input and output.
        key_channels: Channels of queries and keys.
        key_query_num_convs: 1x1 convolutions that make queries and keys.
        norm_cfg: Norm of the convolutions.
        act_cfg: Activation of the convolutions.
    """

    def __init__(self, channels: int, key_channels: int, key_query_num_convs: int, norm_cfg: dict | None,
                 act_cfg: dict) -> None:
        super().__init__(
            key_in_channels=channels, query_in_channels=channels, channels=key_channels, out_channels=channels,
            share_key_query=False, query_downsample=None, key_downsample=None,
            key_query_num_convs=key_query_num_convs, value_out_num_convs=1, key_query_norm=True,
            value_out_norm=False, matmul_norm=True, with_out=False, conv_cfg=None, norm_cfg=norm_cfg,
            act_cfg=act_cfg)
        self.output_project = ConvModule(channels, channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Maps [B, C, H, W] to the same shape; every pixel attends to all of its own map."""
        return self.output_project(super().forward(x_BCHW, x_BCHW))


class ISAFusion(nn.Module):
    """Interlaced sparse self-attention: first among far-apart pixels, then among neighbours.

    Args:
        in_channels: Channels of the input map.
        channels: Channels of the output map.
        isa_channels: Channels of queries and keys.
        down_factor: Height and width of a neighbourhood in pixels.
        key_query_num_convs: 1x1 convolutions that make queries and keys.
        norm_cfg: Norm of the convolutions.
        act_cfg: Activation of the convolutions.
    """

    def __init__(self, in_channels: int, channels: int, isa_channels: int, down_factor: Sequence[int],
                 key_query_num_convs: int, norm_cfg: dict | None, act_cfg: dict) -> None:
        super().__init__()
        self.down_factor = tuple(down_factor)
        self.in_conv = ConvModule(in_channels, channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.global_relation = GroupAttention(channels, isa_channels, key_query_num_convs, norm_cfg, act_cfg)
        self.local_relation = GroupAttention(channels, isa_channels, key_query_num_convs, norm_cfg, act_cfg)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Maps [B, in_channels, H, W] to [B, channels, H, W]."""
        x = self.in_conv(x_BCHW)
        height, width = x.shape[2:]
        near_h, near_w = self.down_factor
        far_h, far_w = (height + near_h - 1) // near_h, (width + near_w - 1) // near_w
        pad_h, pad_w = far_h * near_h - height, far_w * near_w - width
        top, left = pad_h // 2, pad_w // 2
        x = F.pad(x, (left, pad_w - left, top, pad_h - top))
        batch, channels = x.shape[:2]
        cells = x.reshape(batch, channels, far_h, near_h, far_w, near_w)  # sizes in numbers: exporters follow them
        groups = cells.permute(0, 3, 5, 1, 2, 4).flatten(0, 2)  # same place in its neighbourhood, all neighbourhoods
        groups = self.global_relation(groups).reshape(batch, near_h, near_w, channels, far_h, far_w)
        groups = groups.permute(0, 4, 5, 3, 1, 2).flatten(0, 2)  # one neighbourhood
        cells = self.local_relation(groups).reshape(batch, far_h, far_w, channels, near_h, near_w)
        x = cells.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, far_h * near_h, far_w * near_w)
        return x[:, :, top:top + height, left:left + width]


def _conv(in_channels: int, channels: int, kernel_size: int, norm_cfg: dict | None, act_cfg: dict | None) -> nn.Module:
    return ConvModule(in_channels, channels, kernel_size, padding=kernel_size // 2, norm_cfg=norm_cfg, act_cfg=act_cfg)


def _sep_conv(in_channels: int, channels: int, kernel_size: int, norm_cfg: dict | None, act_cfg: dict) -> nn.Module:
    return DepthwiseSeparableConvModule(in_channels, channels, kernel_size, padding=kernel_size // 2,
                                        norm_cfg=norm_cfg, act_cfg=act_cfg)


def _rawconv_and_aspp(in_channels: int, channels: int, kernel_size: int, **aspp) -> nn.Module:
    return nn.Sequential(nn.Conv2d(in_channels, channels, kernel_size, padding=kernel_size // 2),
                         ASPPFusion(channels, channels, **aspp))


_LAYERS: dict[str, Callable[..., nn.Module]] = {
    'mlp': PixelLinear,
    'conv': _conv,
    'sep_conv': _sep_conv,
    'aspp': ASPPFusion,
    'rawconv_and_aspp': _rawconv_and_aspp,
    'isa': ISAFusion,
}


def build_fusion_layer(cfg: dict, in_channels: int, channels: int, key: str) -> nn.Module:
    """Builds one layer of a DAFormer head.

    Args:
        cfg: ``type`` and the arguments of that type: ``mlp``; ``conv`` and ``sep_conv`` (kernel_size, norm_cfg,
            act_cfg); ``aspp`` (dilations, sep, pool, norm_cfg, act_cfg); ``rawconv_and_aspp`` (kernel_size and
            those of ``aspp``); ``isa`` (isa_channels, down_factor, key_query_num_convs, norm_cfg, act_cfg).
        in_channels: Channels of the input map.
        channels: Channels of the output map.
        key: Where ``cfg`` stands in the config, for errors.

    Raises:
        ValueError: If the type is unknown or its arguments do not fit it.
    """
    arguments = dict(cfg)
    kind = arguments.pop('type', None)
    if kind not in _LAYERS:
        raise ValueError(f'{key}.type is {kind!r}, must be one of {sorted(_LAYERS)}')
    try:
        return _LAYERS[kind](in_channels, channels, **arguments)
    except TypeError as error:
        raise ValueError(f'{key} of type {kind!r} does not fit: {error}') from error
