"""Which heads and losses pixel weights have their full effect on; others are refused when a model is built.

A loss is not looked up in a list but tried: one with weights of 0 must be 0 and without gradient, and logits for the
right classes must cost less than logits against them. So losses of other packages are welcome.

Shape suffixes: B images, C channels of the logits, H and W height and width.
"""
import torch
import torch.nn.functional as F
from mmseg.models.decode_heads import (DAHead, DDRHead, EncHead, IterativeDecodeHead, PIDHead, PointHead,
                                       SegmenterMaskTransformerHead)
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss, DiceLoss, OhemCrossEntropy, TverskyLoss
from torch import Tensor, nn

from .head_losses import LOSS_SCHEMES, loss_modules
from .pixel_losses import pixel_loss

LOSSES_THAT_WORK = ('CrossEntropyLoss, DiceLoss, FocalLoss, LovaszLoss, TverskyLoss, OhemCrossEntropy, and others '
                    'whose forward(logits, labels, weight=..., ignore_index=...) follows a weight for each pixel')
LOSSES_FOR_ONE_CHANNEL = ("CrossEntropyLoss with use_sigmoid=True, FocalLoss, LovaszLoss with loss_type='binary', "
                          'BoundaryLoss')


def check_head(head: nn.Module, key: str) -> None:
    """Refuses a head whose losses pixel weights cannot reach, or that does not classify pixels.

    Args:
        head: A decode or auxiliary head.
        key: Its place in the config, such as ``model.segmentor.decode_head``.

    Raises:
        TypeError: If the head is not one that gives logits for each pixel, or computes losses in a way of its own.
        ValueError: If a setting of it stands against pixel weights or adaptation.
    """
    _check_type(head, key)
    if isinstance(head, IterativeDecodeHead):
        _check_type(head.kernel_generate_head, f'{key}.kernel_generate_head')
        head, key = head.kernel_generate_head, f'{key}.kernel_generate_head'
        if head.out_channels == 1:
            raise ValueError(f'{key}.out_channels is 1, but the kernels of an IterativeDecodeHead are one for each '
                             'class: remove it')
    _check_settings(head, key)
    check_losses(head, key)


def check_losses(head: nn.Module, key: str) -> None:
    """Refuses losses of a head that pixel weights have no or a wrong effect on.

    Args:
        head: A head with mmseg's ``loss_decode``, ``ignore_index``, ``num_classes`` and ``out_channels``.
        key: Its place in the config.

    Raises:
        ValueError: In one line, with the loss, the reason and the losses that work.
    """
    losses = loss_modules(head)
    _check_count(head, len(losses), key)
    for position, loss in enumerate(losses):
        own_key = f'{key}.loss_decode' if len(losses) == 1 else f'{key}.loss_decode[{position}]'
        one_channel = head.out_channels == 1 or (isinstance(head, PIDHead) and position == 2)
        channels, classes = (1, 2) if one_channel else (head.num_classes, head.num_classes)
        _check_ignored_label(loss, head, own_key)
        _check_class_weight(loss, channels, own_key)
        fault = _fault(loss, channels, classes, head.ignore_index)
        if fault:
            raise ValueError(
                f'{own_key} is {type(loss).__name__}, which cannot be used with pixel weights and logits of '
                f'{channels} channel{"s" * (channels > 1)}: {fault}; losses that work here: '
                f'{LOSSES_FOR_ONE_CHANNEL if one_channel else LOSSES_THAT_WORK}')
    if isinstance(head, EncHead) and head.use_se_loss:
        loss = head.loss_se_decode
        if type(loss) is not CrossEntropyLoss or not loss.use_sigmoid:
            raise ValueError(f'{key}.loss_se_decode is {type(loss).__name__}, allowed is '
                             "dict(type='CrossEntropyLoss', use_sigmoid=True, ...)")


def _check_type(head: nn.Module, key: str) -> None:
    name = type(head).__name__
    if not isinstance(head, BaseDecodeHead):
        raise TypeError(f'{key} is a {name}, which does not predict a class for each pixel: adaptation needs a head '
                        "derived from mmseg's BaseDecodeHead (DAFormerHead, SegformerHead, UPerHead, ...)")
    if hasattr(head, 'training_losses'):  # weighs pixels itself
        return
    runs_plainly = type(head).loss in (BaseDecodeHead.loss, BaseCascadeDecodeHead.loss, PointHead.loss)
    if not runs_plainly or type(head).loss_by_feat not in (*LOSS_SCHEMES, PointHead.loss_by_feat):
        raise TypeError(f'{key} is a {name}, which computes losses in a way of its own that pixel weights cannot '
                        'reach: take a head whose loss and loss_by_feat are those of mmseg (DAFormerHead, '
                        'SegformerHead, UPerHead, ...)')


def _check_settings(head: BaseDecodeHead, key: str) -> None:
    if head.sampler is not None:
        raise ValueError(f'{key}.sampler is {type(head.sampler).__name__}, which chooses pixels without regard to '
                         "their weights: remove it; the loss dict(type='OhemCrossEntropy') chooses hard ones with them")
    if not isinstance(head.ignore_index, int):
        raise ValueError(f'{key}.ignore_index is {head.ignore_index}, but the label of pixels that do not count must '
                         'be a number: set it to that of the label maps, 255 in most')
    if head.num_classes < 2:
        raise ValueError(f'{key}.num_classes is {head.num_classes}: for two classes set num_classes=2, with '
                         'out_channels=1 and a threshold for a single sigmoid')
    if head.out_channels == 1 and isinstance(head, (DAHead, PointHead, SegmenterMaskTransformerHead)):
        raise ValueError(f'{key}.out_channels is 1, but {type(head).__name__} predicts a channel for each class: '
                         'remove out_channels and threshold')


def _check_count(head: nn.Module, count: int, key: str) -> None:
    needed = 2 if isinstance(head, DDRHead) else 4 if isinstance(head, PIDHead) else count
    if count != needed:
        raise ValueError(f'{key}.loss_decode has {count} loss{"es" * (count > 1)}, but {type(head).__name__} needs a '
                         f'list of {needed}, one for each of its outputs')


def _check_ignored_label(loss: nn.Module, head: nn.Module, key: str) -> None:
    name = {OhemCrossEntropy: 'ignore_label', TverskyLoss: 'ignore_index'}.get(type(loss))
    if name is not None and getattr(loss, name) != head.ignore_index:
        raise ValueError(f'{key}.{name} is {getattr(loss, name)}, but the head ignores {head.ignore_index}: set both '
                         'to the same label')
    if type(loss) is DiceLoss and head.ignore_index < head.num_classes:
        raise ValueError(f'{key} is DiceLoss, which counts pixels of label {head.ignore_index} for a class, but the '
                         'head ignores them: use a label above the classes, 255 in most data sets')


def _check_class_weight(loss: nn.Module, channels: int, key: str) -> None:
    weights = getattr(loss, 'class_weight', None)
    if weights is None:
        return
    if type(loss) is CrossEntropyLoss and loss.use_sigmoid and channels > 1:
        raise ValueError(f'{key}.class_weight is set with use_sigmoid=True, which mmseg multiplies with columns of the '
                         'image in place of classes: remove one of the two')
    if len(weights) != channels:
        raise ValueError(f'{key}.class_weight has {len(weights)} numbers, but the logits have {channels} '
                         f'channel{"s" * (channels > 1)}: give one for each')


def _fault(loss: nn.Module, channels: int, classes: int, ignore_index: int) -> str | None:
    """Tries a loss on a small map and says what is wrong with it."""
    width = 2 * classes + 1  # no number of classes, which class weights could be spread over by mistake
    truth_BHW = torch.arange(2 * width).remainder(classes).view(2, 1, width)
    labels_BHW = truth_BHW.clone()
    labels_BHW[0, 0, 0] = ignore_index
    logits_BCHW = 6 * F.one_hot(truth_BHW, classes).permute(0, 3, 1, 2).float() - 3
    logits_BCHW = logits_BCHW[:, -channels:]
    try:
        unweighted = _value_and_gradient(loss, logits_BCHW, labels_BHW, torch.zeros(2, 1, width), ignore_index)
        right, _ = _value_and_gradient(loss, logits_BCHW, labels_BHW, torch.ones(2, 1, width), ignore_index)
        wrong, _ = _value_and_gradient(loss, -logits_BCHW, labels_BHW, torch.ones(2, 1, width), ignore_index)
    except Exception as error:  # whatever a loss of any package raises is its answer to this kind of map
        return ' '.join(str(error).split())[:160] or type(error).__name__
    if unweighted != (0, 0):
        return f'with all weights 0 it is {unweighted[0]:.4g}, with a gradient of {unweighted[1]:.4g}'
    if not right < wrong and getattr(loss, 'loss_weight', 1):
        return 'it does not prefer the right classes to the wrong ones'
    return None


@torch.enable_grad()
def _value_and_gradient(loss: nn.Module, logits_BCHW: Tensor, labels_BHW: Tensor, weights_BHW: Tensor,
                        ignore_index: int) -> tuple[float, float]:
    logits_BCHW = logits_BCHW.clone().requires_grad_()
    value = pixel_loss(loss, logits_BCHW, labels_BHW, weights_BHW, ignore_index).sum()
    gradient, = torch.autograd.grad(value, logits_BCHW, allow_unused=True)
    return float(value), 0. if gradient is None else float(gradient.abs().max())
