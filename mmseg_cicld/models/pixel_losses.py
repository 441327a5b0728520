"""mmseg's losses with a weight for each pixel: none of them stops on weights, and none of them forgets them.

All follow three rules. Weights of one give the value of mmseg's own module, bit by bit. A pixel of weight 0 adds
nothing to value or gradient; it stays one of the pixels that a mean is divided by. Weights multiplied by a factor
multiply the loss by it, as they do in a mean of weighted values; so losses of regions (Dice, Tversky, Lovász), which
are ratios, count pixels by weight and are scaled by the mean weight.

Shape suffixes: B images, C channels of the logits, H and W height and width, P pixels.
"""
from collections.abc import Callable

import torch
import torch.nn.functional as F
from mmseg.models.losses import (BoundaryLoss, CrossEntropyLoss, DiceLoss, FocalLoss, LovaszLoss, OhemCrossEntropy,
                                 TverskyLoss, weight_reduce_loss)
from mmseg.models.losses.focal_loss import py_sigmoid_focal_loss
from mmseg.models.losses.tversky_loss import binary_tversky_loss
from torch import Tensor, nn

from .precision import full_precision


def pixel_loss(loss: nn.Module, logits_BCHW: Tensor, labels_BHW: Tensor, weights_BHW: Tensor | None,
               ignore_index: int) -> Tensor:
    """Computes a loss with pixel weights.

    Args:
        loss: A loss module of mmseg, or another one that is called the same way.
        logits_BCHW: Logits at label resolution; C is 1 for the sigmoid of a binary head.
        labels_BHW: int64 class ids.
        weights_BHW: Weight of each pixel in [0, 1], None for one everywhere.
        ignore_index: Label of pixels that do not count.

    Returns:
        The loss; a scalar unless ``reduction='none'`` is set in the module.
    """
    weighted = WEIGHTED.get(type(loss))
    if weighted is None:
        return loss(logits_BCHW, labels_BHW, weight=weights_BHW, ignore_index=ignore_index)
    if weights_BHW is None and type(loss) is not CrossEntropyLoss:
        weights_BHW = torch.ones_like(labels_BHW, dtype=torch.float32)
    return weighted(loss, logits_BCHW, labels_BHW, weights_BHW, ignore_index)


def cross_entropy(loss: CrossEntropyLoss, logits_BCHW: Tensor, labels_BHW: Tensor, weights_BHW: Tensor | None,
                  ignore_index: int) -> Tensor:
    """Multiplies each pixel's cross entropy by its weight; what mmseg divides by stays as it is.

    With class weights mmseg divides by the sum of those of all labels and stops at an ignored one. Here ignored pixels
    have none, as in torch's ``cross_entropy``. A binary batch without any label gives 0, where mmseg stops.
    """
    labelled_BHW = labels_BHW != ignore_index
    if loss.use_sigmoid and logits_BCHW.shape[1] == 1 and not labelled_BHW.any():
        return logits_BCHW.sum() * 0
    divisor = None
    if loss.class_weight is not None and not loss.use_sigmoid and loss.reduction == 'mean':
        class_weights = full_precision(logits_BCHW.new_tensor(loss.class_weight))
        divisor = torch.where(labelled_BHW, class_weights[labels_BHW.where(labelled_BHW, 0)], 0).sum()
    return loss(logits_BCHW, labels_BHW, weight=weights_BHW, ignore_index=ignore_index, avg_factor=divisor)


def dice(loss: DiceLoss, logits_BCHW: Tensor, labels_BHW: Tensor, weights_BHW: Tensor, ignore_index: int) -> Tensor:
    """Weights inside the three sums of each image, then the image's mean weight (Milletari et al., 3DV 2016).

    For image b: m (1 - 2 sum(w p t) / (sum(w p^2) + sum(w t^2))), m the mean of w. Pixels to ignore are, as in mmseg,
    of no class.
    """
    count = logits_BCHW.shape[1]
    targets_BCHW = F.one_hot(labels_BHW.clamp(0, count), count + 1)[..., :count].permute(0, 3, 1, 2)
    if loss.activate:
        logits_BCHW = logits_BCHW.sigmoid() if loss.use_sigmoid else logits_BCHW.softmax(dim=1)
    kept = [channel for channel in range(count) if channel != loss.ignore_index]
    predicted, targets = logits_BCHW[:, kept].flatten(1), targets_BCHW[:, kept].flatten(1).float()
    weights = weights_BHW[:, None].expand(-1, len(kept), -1, -1).flatten(1)
    both = (predicted * targets * weights).sum(1)
    if loss.naive_dice:
        sizes = (predicted * weights).sum(1) + (targets * weights).sum(1)
        ratio = (2 * both + loss.eps) / (sizes + loss.eps)
    else:
        squares = ((predicted * predicted * weights).sum(1) + loss.eps) + ((targets * targets * weights).sum(1) +
                                                                            loss.eps)
        ratio = 2 * both / squares
    return loss.loss_weight * weight_reduce_loss(1 - ratio, weights_BHW.flatten(1).mean(1), loss.reduction)


def focal(loss: FocalLoss, logits_BCHW: Tensor, labels_BHW: Tensor, weights_BHW: Tensor, ignore_index: int) -> Tensor:
    """Multiplies each pixel's sigmoid focal losses by its weight (Lin et al., ICCV 2017), in plain torch everywhere.

    mmseg computes this on a GPU with a compiled operator, and fails on a CPU for maps of labels.
    """
    count = logits_BCHW.shape[1]
    labels_P = labels_BHW.flatten()
    valid_P1 = (labels_P != ignore_index)[:, None]
    classes = torch.arange(count, device=labels_P.device) if count > 1 else labels_P.new_ones(1)
    logits_PC = logits_BCHW.transpose(0, 1).flatten(1).transpose(0, 1)
    values = loss.loss_weight * py_sigmoid_focal_loss(
        logits_PC, labels_P[:, None] == classes, weight=weights_BHW.reshape(-1, 1), gamma=loss.gamma, alpha=loss.alpha,
        class_weight=loss.class_weight, valid_mask=valid_P1, reduction=loss.reduction)
    if loss.reduction != 'none':
        return values
    return values.transpose(0, 1).reshape(count, *labels_BHW.shape).transpose(0, 1)


def lovasz(loss: LovaszLoss, logits_BCHW: Tensor, labels_BHW: Tensor, weights_BHW: Tensor,
           ignore_index: int) -> Tensor:
    """Counts a pixel by its weight in the Jaccard index (Berman et al., CVPR 2018), then scales by the mean weight.

    A pixel of weight k stands for k pixels. The mean is over labelled pixels, of an image with ``per_image``, of the
    batch without. No labelled pixel gives 0, where mmseg gives an empty tensor.
    """
    binary = loss.cls_criterion.__name__ == 'lovasz_hinge'
    scores_BCHW = logits_BCHW if binary else logits_BCHW.softmax(dim=1)
    flat = _lovasz_hinge if binary else _lovasz_softmax
    groups = range(len(labels_BHW)) if loss.per_image else [slice(None)]
    values, means = [], []
    for group in groups:
        scores_PC = scores_BCHW[group].movedim(-3, -1).reshape(-1, scores_BCHW.shape[1])
        labels_P, weights_P = labels_BHW[group].reshape(-1), weights_BHW[group].reshape(-1)
        labelled_P = labels_P != ignore_index
        means.append((weights_P * labelled_P).sum() / labelled_P.sum().clamp(min=1))
        kept = labelled_P & (weights_P > 0)
        values.append(flat(loss, scores_PC[kept], labels_P[kept], weights_P[kept]))
    if not loss.per_image:
        return loss.loss_weight * (values[0] * means[0])
    return loss.loss_weight * weight_reduce_loss(torch.stack(values), torch.stack(means), loss.reduction)


def _lovasz_hinge(loss: LovaszLoss, logits_P1: Tensor, labels_P: Tensor, weights_P: Tensor) -> Tensor:
    if not len(labels_P):
        return logits_P1.sum() * 0
    errors_P = 1 - logits_P1[:, 0] * (2. * labels_P.float() - 1.)
    errors_P, steps_P = _sorted_with_steps(errors_P, labels_P.float(), weights_P)
    return torch.dot(F.relu(errors_P), steps_P.to(errors_P.dtype))


def _lovasz_softmax(loss: LovaszLoss, probabilities_PC: Tensor, labels_P: Tensor, weights_P: Tensor) -> Tensor:
    if not len(labels_P):
        return probabilities_PC.sum() * 0
    every = range(probabilities_PC.shape[1]) if loss.classes in ('all', 'present') else loss.classes
    values = []
    for label in every:
        foreground_P = (labels_P == label).float()
        if loss.classes == 'present' and not foreground_P.any():
            continue
        errors_P, steps_P = _sorted_with_steps((foreground_P - probabilities_PC[:, label]).abs(), foreground_P,
                                               weights_P)
        value = torch.dot(errors_P, steps_P.to(errors_P.dtype))
        values.append(value if loss.class_weight is None else value * loss.class_weight[label])
    return torch.stack(values).mean()


def _sorted_with_steps(errors_P: Tensor, foreground_P: Tensor, weights_P: Tensor) -> tuple[Tensor, Tensor]:
    """Sorts errors, largest first, with what each adds to the Jaccard loss (Berman et al., equation 9)."""
    errors_P, order = torch.sort(errors_P, 0, descending=True)
    foreground_P, weights_P = foreground_P[order], weights_P[order]
    total = (foreground_P * weights_P).sum()
    intersection_P = total - (foreground_P * weights_P).cumsum(0)
    union_P = total + ((1 - foreground_P) * weights_P).cumsum(0)
    jaccard_P = 1. - intersection_P / union_P
    return errors_P, torch.cat([jaccard_P[:1], jaccard_P[1:] - jaccard_P[:-1]])


def tversky(loss: TverskyLoss, logits_BCHW: Tensor, labels_BHW: Tensor, weights_BHW: Tensor,
            ignore_index: int) -> Tensor:
    """Weights inside the sums of hits, false alarms and misses of each image and class, then the image's mean weight.

    The mean is over labelled pixels (Salehi et al., MLMI 2017).
    """
    probabilities_BCHW = logits_BCHW.softmax(dim=1)
    count = logits_BCHW.shape[1]
    targets_BHWC = F.one_hot(labels_BHW.clamp(0, count - 1), num_classes=count)
    labelled_BHW = labels_BHW != ignore_index
    weights_BHW = weights_BHW * labelled_BHW
    means_B = weights_BHW.flatten(1).sum(1) / labelled_BHW.flatten(1).sum(1).clamp(min=1)
    total = 0
    for label in range(count):
        if label != ignore_index:
            value = binary_tversky_loss(probabilities_BCHW[:, label], targets_BHWC[..., label], valid_mask=weights_BHW,
                                        alpha=loss.alpha, beta=loss.beta, smooth=loss.smooth, weight=means_B)
            total = total + (value if loss.class_weight is None else value * loss.class_weight[label])
    return loss.loss_weight * (total / count)


def ohem_cross_entropy(loss: OhemCrossEntropy, logits_BCHW: Tensor, labels_BHW: Tensor, weights_BHW: Tensor,
                       ignore_index: int) -> Tensor:
    """Selects hard pixels among those of weight > 0, then takes the mean of their weighted cross entropy.

    It is scaled by the share of labelled pixels that have a weight, as a mean over all of them would be: pixels without
    one do not raise the loss of the others. No hard pixel gives 0, where mmseg gives a mean of nothing.
    """
    class_weights = None if loss.class_weight is None else logits_BCHW.new_tensor(loss.class_weight)
    values_BHW = weights_BHW * F.cross_entropy(logits_BCHW, labels_BHW, weight=class_weights,
                                               ignore_index=ignore_index, reduction='none')
    labelled_BHW = labels_BHW != ignore_index
    kept_BHW = labelled_BHW & (weights_BHW > 0)
    classes_B1HW = labels_BHW.where(labels_BHW != ignore_index, 0)[:, None]
    probabilities_P, order = logits_BCHW.softmax(dim=1).gather(1, classes_B1HW)[:, 0][kept_BHW].sort()
    if not len(probabilities_P):
        return logits_BCHW.sum() * 0
    hardest = probabilities_P[min(loss.min_kept, len(probabilities_P) - 1)]
    hard_P = values_BHW[kept_BHW][order][probabilities_P < hardest.clamp(min=loss.thresh)]
    share = kept_BHW.sum() / labelled_BHW.sum()
    return loss.loss_weight * (share * hard_P.mean() if len(hard_P) else logits_BCHW.sum() * 0)


def boundary(loss: BoundaryLoss, logits_B1HW: Tensor, labels_BHW: Tensor, weights_BHW: Tensor,
             ignore_index: int) -> Tensor:
    """Multiplies each pixel's balanced binary cross entropy by its weight; the balance counts pixels by weight.

    Boundaries (label 1) are weighted by the share of the other pixels (label 0) and these by that of boundaries; other
    labels do not count (PIDNet, Xu et al., CVPR 2023).
    """
    targets_BHW = labels_BHW.to(weights_BHW.dtype)
    positive_BHW, negative_BHW = weights_BHW * (labels_BHW == 1), weights_BHW * (labels_BHW == 0)
    positive, negative = positive_BHW.sum(), negative_BHW.sum()
    both = (positive + negative).clamp(min=torch.finfo(weights_BHW.dtype).tiny)
    balanced_BHW = positive_BHW * (negative / both) + negative_BHW * (positive / both)
    values = F.binary_cross_entropy_with_logits(logits_B1HW.reshape(1, -1), targets_BHW.reshape(1, -1),
                                                balanced_BHW.reshape(1, -1))
    return loss.loss_weight * values


WEIGHTED: dict[type, Callable[..., Tensor]] = {
    CrossEntropyLoss: cross_entropy,
    DiceLoss: dice,
    FocalLoss: focal,
    LovaszLoss: lovasz,
    TverskyLoss: tversky,
    OhemCrossEntropy: ohem_cross_entropy,
    BoundaryLoss: boundary,
}
"""mmseg's losses that have a form with pixel weights; any other module is called with ``weight`` as mmseg does."""
