"""STUB head losses."""
from collections.abc import Sequence

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import accuracy
from mmseg.models.utils import resize
from torch import Tensor, nn


def check_head(head: nn.Module, key: str) -> None:
    if not isinstance(head, BaseDecodeHead):
        raise TypeError(
            f'{key} is a {type(head).__name__}, which does not predict a class for each pixel; '
            'ClassMixEMA needs heads derived from mmseg\'s BaseDecodeHead (DAFormerHead, SegformerHead, '
            f'UPerHead, ...): change {key}.type in the config')
    if head.sampler is not None:
        raise ValueError(f'{key}.sampler is {type(head.sampler).__name__}, remove {key}.sampler from the config')


def logit_losses(head, logits, labels_BHW, weights_BHW):
    logits = resize(logits, size=labels_BHW.shape[1:], mode='bilinear', align_corners=head.align_corners)
    functions = head.loss_decode if isinstance(head.loss_decode, nn.ModuleList) else [head.loss_decode]
    losses = {}
    for function in functions:
        value = function(logits, labels_BHW, weight=weights_BHW, ignore_index=head.ignore_index)
        losses[function.loss_name] = losses[function.loss_name] + value if function.loss_name in losses else value
    losses['acc_seg'] = accuracy(logits, labels_BHW, ignore_index=head.ignore_index)
    return losses, logits


def head_losses(head, inputs, labels_BHW, weights_BHW=None, prev_logits=None):
    logits = head(inputs) if prev_logits is None else head(inputs, prev_logits)
    return logit_losses(head, logits, labels_BHW, weights_BHW)
