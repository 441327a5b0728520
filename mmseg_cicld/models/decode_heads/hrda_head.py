"""Fusion of context and detail predictions by scale attention (HRDA, Hoyer et al., ECCV 2022, section 3.2).

Shape suffixes: B images, C classes, h and w size of the context prediction, H and W size of the detail prediction.
"""
import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from mmengine.model import BaseModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..crop_box import CropBox, MultiScaleFeatures, average_windows
from ..head_losses import AdjustLogits, pixel_losses

# Maps feature levels, and the window that they come from (None: the whole image), to logits.
Predict = Callable[[Sequence[Tensor], CropBox | None], Tensor]


class ScaleLogits(NamedTuple):
    """Fused logits [B, C, H, W], attention-weighted context logits [B, C, h, w], detail logits of the windows."""

    fused_BCHW: Tensor
    context_BChw: Tensor
    detail: Tensor


@MODELS.register_module()
class HRDAHead(BaseDecodeHead):
    """Runs one single-scale head on context and on detail features and fuses both by a learned attention.

    The attention is predicted from the context features, one map a class or one for all. Outside the detail windows
    it is zero, so that the context prediction is used there. All further keys are those of the single-scale head.

    Args:
        single_scale_head: Registry name of the head, such as ``'DAFormerHead'``, ``'DLV2Head'``, ``'SegformerHead'``.
        attention_classwise: One attention map a class instead of one for all.
        attention_embed_dim: Width of the attention network of a DAFormerHead or LatentDiffusionHead. Other heads'
            attention networks are copies of the head.
        fixed_attention: Share of the detail prediction in [0, 1] in place of a learned attention.
        hr_loss_weight: Share of the loss on the detail prediction, 0.1 in the published configs.
        lr_loss_weight: Share of the loss on the context prediction.
        **kwargs: Keys of the single-scale head; ``loss_decode`` is used for all three predictions.

    Raises:
        ValueError: If ``align_corners`` is set, or shares are out of [0, 1].
    """

    def __init__(self, single_scale_head: str, *, attention_classwise: bool = True, attention_embed_dim: int = 256,
                 fixed_attention: float | None = None, hr_loss_weight: float = 0.0, lr_loss_weight: float = 0.0,
                 sampler: dict | None = None, init_cfg: dict | None = None, **kwargs) -> None:
        _check(kwargs.get('align_corners', False), hr_loss_weight, lr_loss_weight, fixed_attention)
        head = MODELS.build(dict(kwargs, type=single_scale_head))
        super().__init__(
            in_channels=kwargs['in_channels'], channels=head.channels, num_classes=head.num_classes,
            out_channels=head.out_channels, threshold=head.threshold, in_index=head.in_index,
            input_transform=head.input_transform, ignore_index=head.ignore_index, dropout_ratio=0, sampler=sampler,
            loss_decode=kwargs.get('loss_decode', dict(type='CrossEntropyLoss')), init_cfg=init_cfg or [])
        del self.conv_seg
        self.hr_loss_weight, self.lr_loss_weight = hr_loss_weight, lr_loss_weight
        self.fixed_attention = fixed_attention
        self.head = head
        if fixed_attention is None:
            maps = head.out_channels if attention_classwise else 1
            self.scale_attention = _build_attention(head, kwargs, maps, attention_embed_dim)

    def forward(self, inputs: MultiScaleFeatures) -> Tensor:
        """Returns fused logits [B, C, H, W] at the resolution of the detail prediction."""
        return self.scale_logits(inputs).fused_BCHW

    def scale_logits(self, inputs: MultiScaleFeatures, predict: Predict | None = None) -> ScaleLogits:
        """Predicts both scales and fuses them. Context goes first: the head's batch norms see both.

        Args:
            inputs: Features of both scales.
            predict: What predicts a scale, the single-scale head if None.
        """
        predict = predict or (lambda levels, window: self.head(levels))
        context_BChw = predict(inputs.context, None)
        detail = self._detail(inputs, predict)
        attention = self._attention(inputs, context_BChw)
        context_BChw = (1 - attention) * context_BChw
        canvas_BCHW = self._canvas(detail, inputs)
        size = canvas_BCHW.shape[2:]
        fused_BCHW = _resized(attention, size) * canvas_BCHW + _resized(context_BChw, size)
        return ScaleLogits(fused_BCHW, context_BChw, detail)

    def _detail(self, inputs: MultiScaleFeatures, predict: Predict) -> Tensor:
        window = inputs.windows[0]
        if self.training and len(inputs.detail) > 1:
            # Batch norms have to see all windows at once.
            levels = tuple(torch.cat(level) for level in zip(*inputs.detail))
            return predict(levels, window)
        return torch.cat([predict(chunk, window) for chunk in inputs.detail])

    def _attention(self, inputs: MultiScaleFeatures, context_BChw: Tensor) -> Tensor:
        if self.fixed_attention is None:
            attention = torch.sigmoid(self.scale_attention(inputs.context))
        else:
            attention = torch.full_like(context_BChw, self.fixed_attention)
        if len(inputs.windows) == 1 and inputs.windows[0].size != inputs.size:
            size = tuple(attention.shape[2:])
            mask = attention.new_zeros(1, 1, *size)
            inputs.windows[0].scaled(of=inputs.size, to=size).crop(mask).fill_(1)
            attention = attention * mask
        return attention

    def _canvas(self, detail: Tensor, inputs: MultiScaleFeatures) -> Tensor:
        stride = inputs.windows[0].size[0] // detail.shape[2]
        sides = [side for window in inputs.windows for side in window] + list(inputs.size)
        if any(side % stride for side in sides):
            raise ValueError(
                f'the head predicts every {stride} pixels, but the detail windows lie at other places in an image of '
                f'size {inputs.size}: make model.segmentor.crop_coord_divisible, hr_crop_size and the crop size of the '
                f'training pipeline multiples of {stride}')
        size = (inputs.size[0] // stride, inputs.size[1] // stride)
        windows = [window.scaled(of=inputs.size, to=size) for window in inputs.windows]
        # Half precision is too coarse to average in.
        detail = detail.float() if detail.dtype in (torch.float16, torch.bfloat16) else detail
        return average_windows(detail.chunk(len(windows)), windows, size)

    @property
    def denoising_head(self) -> nn.Module | None:
        """The single-scale head, if it denoises latents."""
        return getattr(self.head, 'denoising_head', None)

    def training_losses(self, inputs: MultiScaleFeatures, labels_BHW: Tensor, weights_BHW: Tensor | None,
                     seeds: Sequence[int] | None, adjust: AdjustLogits | None = None) -> tuple[dict[str, Tensor], Tensor]:
        """Computes the losses of the fused and, where they have a share, of the single predictions.

        Args:
            inputs: Features with a single window.
            labels_BHW: int64 class ids.
            weights_BHW: Loss weight of each pixel in [0, 1], None weighs all one.
            seeds: A seed for each sample, for a single-scale head that draws.
            adjust: Maps the fused logits, at the resolution of the labels, to those that their losses see.

        Returns:
            The losses, and the fused logits at the resolution of the labels.
        """
        own_losses: dict[str, Tensor] = {}
        logits = self.scale_logits(inputs, self._training_prediction(labels_BHW, seeds, own_losses))
        share = 1 - self.lr_loss_weight - self.hr_loss_weight
        losses, fused_BCHW = self._losses(logits.fused_BCHW, labels_BHW, weights_BHW, share, adjust)
        if self.lr_loss_weight:
            context, _ = self._losses(logits.context_BChw, labels_BHW, weights_BHW, self.lr_loss_weight)
            losses.update({f'lr.{key}': value for key, value in context.items()})
        if self.hr_loss_weight:
            crop = inputs.windows[0].crop
            weights = None if weights_BHW is None else crop(weights_BHW)
            detail, _ = self._losses(logits.detail, crop(labels_BHW), weights, self.hr_loss_weight)
            losses.update({f'hr.{key}': value for key, value in detail.items()})
        return {**losses, **own_losses}, fused_BCHW

    def _training_prediction(self, labels_BHW: Tensor, seeds: Sequence[int] | None,
                             losses: dict[str, Tensor]) -> Predict | None:
        """Lets a head with a training forward of its own train on either scale; half of its own losses of each."""
        if not hasattr(self.head, 'training_logits'):
            return None

        def predict(levels: Sequence[Tensor], window: CropBox | None) -> Tensor:
            labels = labels_BHW if window is None else window.crop(labels_BHW)
            logits, own = self.head.training_logits(levels, labels, seeds)
            losses.update({f'{"" if window is None else "hr."}{key}': value / 2 for key, value in own.items()})
            return logits

        return predict

    def _losses(self, logits: Tensor, labels_BHW: Tensor, weights_BHW: Tensor | None, share: float,
                adjust: AdjustLogits | None = None) -> tuple[dict[str, Tensor], Tensor]:
        logits_BCHW = _resized(logits, labels_BHW.shape[1:])
        losses = pixel_losses(self, logits_BCHW, labels_BHW, weights_BHW, adjust)
        return {key: share * value if 'loss' in key else value for key, value in losses.items()}, logits_BCHW


def _build_attention(head: BaseDecodeHead, kwargs: dict, maps: int, width: int) -> BaseModule:
    """Builds a network like the head, as the head itself says what that is."""
    config = dict(copy.deepcopy(kwargs), type=type(head), num_classes=maps, out_channels=maps, threshold=0.5)
    if hasattr(head, 'attention_config'):
        config = head.attention_config(config, width)
    return MODELS.build(config)


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    return maps if maps.shape[2:] == tuple(size) else resize(maps, size=size, mode='bilinear', align_corners=False)


def _check(align_corners: bool, hr_share: float, lr_share: float, fixed_attention: float | None) -> None:
    if align_corners:
        raise ValueError('decode_head.align_corners must be False for HRDAHead')
    if min(hr_share, lr_share) < 0 or hr_share + lr_share > 1:
        raise ValueError(f'decode_head.hr_loss_weight={hr_share} and lr_loss_weight={lr_share} are shares of the loss: '
                         'neither may be negative, their sum at most 1')
    if fixed_attention is not None and not 0 <= fixed_attention <= 1:
        raise ValueError(f'decode_head.fixed_attention is {fixed_attention}, allowed are None and values in [0, 1]')
