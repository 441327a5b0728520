"""Losses of one decode head of mmseg, from features, labels and a weight for each pixel, with the logits of that pass.

The losses have the names and, with weights of one, the values that the head's own ``loss`` gives; heads that compute
losses of their own (DANet, DDRNet, PIDNet, EncNet, K-Net, STDC, PointRend) as well as those that do not.

Shape suffixes: B images, C channels of the logits, H and W label height and width, N points.
"""
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.models.decode_heads import DAHead, DDRHead, EncHead, IterativeDecodeHead, PIDHead, PointHead, STDCHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.point_head import calculate_uncertainty
from mmseg.models.utils import resize
from mmseg.utils import add_prefix
from torch import Tensor, nn

from .edge_labels import edges, stdc_boundaries
from .label_rule import LabelRule
from .pixel_losses import pixel_loss

Losses = dict[str, Tensor]
AdjustLogits = Callable[[Tensor], Tensor]


def head_losses(head: nn.Module, inputs: Sequence[Tensor], labels_BHW: Tensor, weights_BHW: Tensor | None = None,
                prev_logits: Tensor | None = None, train_cfg: Mapping | None = None,
                adjust: AdjustLogits | None = None) -> tuple[Losses, Tensor]:
    """Runs a head in training mode and computes its losses, weighted by pixel.

    Args:
        head: A head that :func:`check_head` accepts.
        inputs: Features of the backbone or neck.
        labels_BHW: int64 class ids.
        weights_BHW: Weight of each pixel in [0, 1], None for one everywhere.
        prev_logits: Logits of the head before it in a cascade, at their own resolution, see :func:`raw_logits`.
        train_cfg: The segmentor's ``train_cfg``, of which only ``PointHead`` reads something.
        adjust: Maps the logits that the head predicts with to those that its losses see. Not for ``PointHead``.

    Returns:
        The losses by mmseg's names, with ``acc_seg``, and the logits [B, C, H, W] that the head predicts with, with
        gradient. ``PointHead`` predicts at points only, so its logits are those of the head before it.
    """
    size = labels_BHW.shape[1:]
    if isinstance(head, PointHead):
        losses = _point_losses(head, inputs, prev_logits, labels_BHW, weights_BHW, train_cfg)
        return losses, _resized(head, prev_logits, size)
    outputs = _outputs(head, inputs, prev_logits)
    maps = [_resized(head, output, size) if output.ndim == 4 else output for output in outputs]
    scheme = LOSS_SCHEMES[type(head).loss_by_feat]
    main_BCHW = maps[scheme.main]
    if adjust is None:
        return scheme.losses(head, maps, labels_BHW, weights_BHW), main_BCHW
    maps[scheme.main] = adjust(main_BCHW)
    losses = scheme.losses(head, maps, labels_BHW, weights_BHW)
    if 'acc_seg' in losses:
        losses['acc_seg'] = _accuracy(head, main_BCHW, labels_BHW)
    return losses, main_BCHW


def raw_logits(head: nn.Module, inputs: Sequence[Tensor], prev_logits: Tensor | None = None) -> Tensor:
    """Returns a head's main logits [B, C, h, w] at its own resolution, in the mode it is in.

    Args:
        head: A head that :func:`check_head` accepts; for ``PointHead`` the result is ``prev_logits``.
        inputs: Features of the backbone or neck.
        prev_logits: Logits of the head before it in a cascade.
    """
    if isinstance(head, PointHead):
        return prev_logits
    outputs = _outputs(head, inputs, prev_logits)
    # In evaluation some heads give the main output alone.
    return outputs[0] if len(outputs) == 1 else outputs[LOSS_SCHEMES[type(head).loss_by_feat].main]


def predicted_logits(head: nn.Module, inputs: Sequence[Tensor], prev_logits: Tensor | None, metas: Sequence[dict],
                     test_cfg: Mapping | None) -> Tensor:
    """Returns the logits [B, C, H, W] that a head predicts with, at the size of the images, in the mode it is in.

    Unlike ``head.predict`` it knows which output counts when a head in training mode gives several.

    Args:
        head: A head that :func:`check_head` accepts.
        inputs: Features of the backbone or neck.
        prev_logits: Logits of the head before it in a cascade.
        metas: A metainfo with ``img_shape`` for each image.
        test_cfg: The segmentor's ``test_cfg``, of which only ``PointHead`` reads something.
    """
    if isinstance(head, PointHead):
        return head.predict(inputs, prev_logits, metas, test_cfg)
    return head.predict_by_feat(raw_logits(head, inputs, prev_logits), metas)


def pixel_losses(head: nn.Module, logits_BCHW: Tensor, labels_BHW: Tensor, weights_BHW: Tensor | None,
                 adjust: AdjustLogits | None = None) -> Losses:
    """Computes all losses of ``head.loss_decode`` and the accuracy for one map of logits at label resolution.

    Args:
        head: The head that the losses, ``ignore_index`` and the rule of labels are taken from.
        logits_BCHW: Logits.
        labels_BHW: int64 class ids.
        weights_BHW: Weight of each pixel in [0, 1], None for one everywhere.
        adjust: Maps the logits to those that the losses see; the accuracy is that of the logits as they are.
    """
    losses: Losses = {}
    adjusted_BCHW = logits_BCHW if adjust is None else adjust(logits_BCHW)
    for loss in loss_modules(head):
        value = pixel_loss(loss, adjusted_BCHW, labels_BHW, weights_BHW, head.ignore_index)
        losses[loss.loss_name] = losses[loss.loss_name] + value if loss.loss_name in losses else value
    losses['acc_seg'] = _accuracy(head, logits_BCHW, labels_BHW)
    return losses


def loss_modules(head: nn.Module) -> list[nn.Module]:
    """Returns the modules of ``head.loss_decode``, which may be one or a list."""
    return list(head.loss_decode) if isinstance(head.loss_decode, nn.ModuleList) else [head.loss_decode]


def _outputs(head: nn.Module, inputs: Sequence[Tensor], prev_logits: Tensor | None) -> Sequence[Tensor]:
    outputs = head.forward(inputs) if prev_logits is None else head.forward(inputs, prev_logits)
    return (outputs, ) if isinstance(outputs, Tensor) else outputs


def _resized(head: nn.Module, logits_BChw: Tensor, size: Sequence[int]) -> Tensor:
    return resize(logits_BChw, size=tuple(size), mode='bilinear', align_corners=head.align_corners)


def _accuracy(head: nn.Module, logits_BCHW: Tensor, labels_BHW: Tensor) -> Tensor:
    """As mmseg's, but for one channel by the head's threshold: the largest of one channel is always class 0."""
    if head.out_channels == 1 and logits_BCHW.shape[1] == 1:
        predicted_BHW, _ = LabelRule.of_head(head).labels_and_confidence(logits_BCHW.detach())
        logits_BCHW = F.one_hot(predicted_BHW, head.num_classes).permute(0, 3, 1, 2).float()
    return _percent_right(logits_BCHW, labels_BHW, head.ignore_index)


def _percent_right(logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    """As mmseg's ``accuracy``, which sorts all classes on a CPU (a twentieth of a small step) and has a GPU waited for."""
    labelled = labels != ignore_index
    right = ((logits.detach().max(dim=1).indices == labels) & labelled).sum()
    tiny = torch.finfo(torch.float32).eps  # 100 where nothing is labelled
    return (right.float()[None] + tiny) * (100 / (labelled.sum().double() + tiny)).float()


def _plain(head: nn.Module, maps: Sequence[Tensor], labels_BHW: Tensor, weights_BHW: Tensor | None) -> Losses:
    return pixel_losses(head, maps[0], labels_BHW, weights_BHW)


def _dual_attention(head: DAHead, maps: Sequence[Tensor], labels_BHW: Tensor, weights_BHW: Tensor | None) -> Losses:
    losses: Losses = {}
    for name, logits_BCHW in zip(('pam_cam', 'pam', 'cam'), maps, strict=True):
        losses.update(add_prefix(pixel_losses(head, logits_BCHW, labels_BHW, weights_BHW), name))
    return losses


def _ddr(head: DDRHead, maps: Sequence[Tensor], labels_BHW: Tensor, weights_BHW: Tensor | None) -> Losses:
    context, spatial = head.loss_decode
    return dict(loss_context=pixel_loss(context, maps[0], labels_BHW, weights_BHW, head.ignore_index),
                loss_spatial=pixel_loss(spatial, maps[1], labels_BHW, weights_BHW, head.ignore_index),
                acc_seg=_accuracy(head, maps[0], labels_BHW))


def _pid(head: PIDHead, maps: Sequence[Tensor], labels_BHW: Tensor, weights_BHW: Tensor | None) -> Losses:
    detail_BCHW, main_BCHW, edge_B1HW = maps
    of_detail, of_main, of_edges, of_main_at_edges = head.loss_decode
    ignore = head.ignore_index
    at_edges_BHW = labels_BHW.where(torch.sigmoid(edge_B1HW[:, 0]) > 0.8, ignore)
    edges_BHW = edges(labels_BHW, ignore)
    return dict(loss_sem_p=pixel_loss(of_detail, detail_BCHW, labels_BHW, weights_BHW, ignore),
                loss_sem_i=pixel_loss(of_main, main_BCHW, labels_BHW, weights_BHW, ignore),
                loss_bd=pixel_loss(of_edges, edge_B1HW, edges_BHW, weights_BHW, ignore),
                loss_sem_bd=pixel_loss(of_main_at_edges, main_BCHW, at_edges_BHW, weights_BHW, ignore),
                acc_seg=_accuracy(head, main_BCHW, labels_BHW))


def _encoding(head: EncHead, maps: Sequence[Tensor], labels_BHW: Tensor, weights_BHW: Tensor | None) -> Losses:
    """Adds the loss of which classes an image holds: those of pixels of weight > 0, scaled by its mean weight."""
    losses = pixel_losses(head, maps[0], labels_BHW, weights_BHW)
    if not head.use_se_loss:
        return losses
    scores_BK, seen_BHW, means_BK = maps[1], labels_BHW, None
    if weights_BHW is not None:
        seen_BHW = labels_BHW.where(weights_BHW > 0, head.num_classes)  # no class
        means_BK = weights_BHW.flatten(1).mean(1, keepdim=True).expand_as(scores_BK)
    present_BK = head._convert_to_onehot_labels(seen_BHW, head.num_classes)
    losses['loss_se'] = head.loss_se_decode(scores_BK, present_BK, weight=means_BK)
    return losses


def _iterative(head: IterativeDecodeHead, maps: Sequence[Tensor], labels_BHW: Tensor,
               weights_BHW: Tensor | None) -> Losses:
    losses: Losses = {}
    for stage, logits_BCHW in enumerate(maps):
        own = pixel_losses(head.kernel_generate_head, logits_BCHW, labels_BHW, weights_BHW)
        losses.update({f'{name}.s{stage}': value for name, value in own.items()})
    return losses


def _boundary_head(head: STDCHead, maps: Sequence[Tensor], labels_BHW: Tensor, weights_BHW: Tensor | None) -> Losses:
    return pixel_losses(head, maps[0], stdc_boundaries(head, labels_BHW), weights_BHW)


def _point_losses(head: PointHead, inputs: Sequence[Tensor], prev_logits: Tensor, labels_BHW: Tensor,
                  weights_BHW: Tensor | None, train_cfg: ConfigDict) -> Losses:
    """Samples labels and weights at the points that the head chooses (PointRend, Kirillov et al., CVPR 2020)."""
    from mmcv.ops import point_sample  # plain torch, but in a module that wants compiled operators in some stacks

    features = head._transform_inputs(inputs)
    with torch.no_grad():
        points = head.get_points_train(prev_logits, calculate_uncertainty, cfg=train_cfg)
    logits_BCN = head.forward(head._get_fine_grained_point_feats(features, points),
                              head._get_coarse_point_feats(prev_logits, points))

    def at_points(map_BHW: Tensor) -> Tensor:
        return point_sample(map_BHW[:, None].float(), points, mode='nearest', align_corners=head.align_corners)

    labels_B1N = at_points(labels_BHW).long()
    weights_B1N = None if weights_BHW is None else at_points(weights_BHW)
    losses = {f'point{loss.loss_name}': pixel_loss(loss, logits_BCN[:, :, None], labels_B1N, weights_B1N,
                                                   head.ignore_index) for loss in loss_modules(head)}
    losses['acc_point'] = _percent_right(logits_BCN, labels_B1N[:, 0], head.ignore_index)
    return losses


class LossScheme(NamedTuple):
    """How a kind of head makes losses of its outputs, and which output it predicts with."""

    losses: Callable[[nn.Module, Sequence[Tensor], Tensor, Tensor | None], Losses]
    main: int


LOSS_SCHEMES: dict[Callable, LossScheme] = {
    BaseDecodeHead.loss_by_feat: LossScheme(_plain, 0),
    DAHead.loss_by_feat: LossScheme(_dual_attention, 0),
    DDRHead.loss_by_feat: LossScheme(_ddr, 0),
    PIDHead.loss_by_feat: LossScheme(_pid, 1),
    EncHead.loss_by_feat: LossScheme(_encoding, 0),
    IterativeDecodeHead.loss_by_feat: LossScheme(_iterative, -1),
    STDCHead.loss_by_feat: LossScheme(_boundary_head, 0),
}
"""By the method of mmseg that computes the same; a subclass that keeps the method keeps the scheme."""
