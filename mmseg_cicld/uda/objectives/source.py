"""Supervision on labelled source images, with the ImageNet feature distance of DAFormer (Hoyer et al., CVPR 2022).

Shape suffixes: B images, C channels, H and W input size, h and w feature size.
"""
import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..segmentor_contract import IGNORE_INDEX, num_classes
from ..step_context import StepContext
from .objective import Objective

# Cityscapes train ids that DAFormer's published configs call things, light and sign among them.
THINGS = (6, 7, 11, 12, 13, 14, 15, 16, 17, 18)


@MODELS.register_module()
class SourceSupervision(Objective):
    """The segmentor's own losses on source images and labels.

    Args:
        feature_distance: Arguments of :class:`FeatureDistance`, off if None.
        name: Prefix in the log.
    """

    def __init__(self, feature_distance: dict | None = None, name: str = 'source') -> None:
        super().__init__(name)
        self.feature_distance = None if feature_distance is None else FeatureDistance(**feature_distance)

    def attach(self, student: nn.Module) -> None:
        """Copies the student's encoder as the frozen reference of the feature distance."""
        if self.feature_distance is not None:
            self.feature_distance.attach(student)

    def forward(self, context: StepContext) -> dict[str, Tensor]:
        """Computes the segmentation losses and, from the features of the same forward, the feature distance."""
        images_BCHW, labels_BHW = context.source.images_BCHW, context.source.labels_BHW
        output = context.train_student(self.name, images_BCHW, labels_BHW)
        losses = dict(output.losses)
        if self.feature_distance is not None:
            losses['loss_feature_distance'] = self.feature_distance(output.features[-1], images_BCHW, labels_BHW)
        # Later objectives may look at the logits, but must not keep this graph alive.
        output.logits_BCHW = output.logits_BCHW.detach()
        output.features, output.losses = (), {}
        context.source_output = output
        return losses


class FeatureDistance(nn.Module):
    """Keeps the student's last feature map close to that of its ImageNet initialisation (DAFormer, section 3.3).

    The loss is the mean over locations of the L2 norm, over channels, of the difference. A location counts if one of
    the chosen classes fills at least ``min_ratio`` of the pixels below it. Without any such location it is zero.

    Args:
        weight: Factor of the loss, 0.005 in DAFormer.
        classes: Class ids that count, ``'things'`` for the ten of Cityscapes, None for all locations.
        min_ratio: Least share in [0, 1] of the class below a location.
    """

    def __init__(self, weight: float = 0.005, classes: Sequence[int] | str | None = 'things',
                 min_ratio: float = 0.75) -> None:
        super().__init__()
        if isinstance(classes, str) and classes != 'things':
            raise ValueError(f"feature_distance.classes is '{classes}', allowed are 'things', a list of ids, or None")
        self.weight, self.min_ratio = weight, min_ratio
        self.classes = THINGS if classes == 'things' else classes
        self.frozen: nn.Module | None = None
        self.num_classes = 0

    def attach(self, student: nn.Module) -> None:
        """Makes a frozen copy of the student without its heads, or brings the one there is up to date."""
        self.num_classes = num_classes(student)
        if self.classes is not None and max(self.classes) >= self.num_classes:
            raise ValueError(f'feature_distance.classes holds {max(self.classes)}, but the segmentor predicts '
                             f'{self.num_classes} classes: list ids below that, or None for all locations')
        if self.frozen is not None:
            self.frozen.load_state_dict(student.state_dict(), strict=False)
            return
        heads = {key: getattr(student, key, None) for key in ('decode_head', 'auxiliary_head')}
        memo = {id(head): nn.Identity() for head in heads.values() if head is not None}
        self.frozen = copy.deepcopy(student, memo).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> 'FeatureDistance':
        """Sets the mode; the frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen is not None:
            self.frozen.eval()
        return self

    def forward(self, features_BChw: Tensor, images_BCHW: Tensor, labels_BHW: Tensor) -> Tensor:
        """Computes the weighted distance.

        Args:
            features_BChw: The student's last feature map, with gradient.
            images_BCHW: The images that it came from.
            labels_BHW: Their labels.
        """
        with torch.no_grad():
            reference_BChw = _as_list(self.frozen.extract_feat(images_BCHW))[-1]
        difference = features_BChw.float() - reference_BChw.float() if features_BChw.dtype != torch.float64 \
            else features_BChw - reference_BChw
        distance_Bhw = torch.linalg.vector_norm(difference, dim=1)
        if self.classes is None:
            return self.weight * distance_Bhw.mean()
        kept_Bhw = self._kept_locations(labels_BHW, distance_Bhw.shape)
        # The mean is over the kept locations of all processes; DDP divides by the number of processes later.
        count = kept_Bhw.sum(dtype=distance_Bhw.dtype)
        all_reduce(count)
        return self.weight * (distance_Bhw * kept_Bhw).sum() * get_world_size() / count.clamp(min=1)

    def _kept_locations(self, labels_BHW: Tensor, shape_Bhw: torch.Size) -> Tensor:
        factor = labels_BHW.shape[-1] // shape_Bhw[-1]
        if factor <= 1:
            raise ValueError(f'feature_distance.classes needs features coarser than the label, got features '
                             f'{tuple(shape_Bhw[1:])} for labels {tuple(labels_BHW.shape[1:])}: set classes=None')
        coarse_Bhw = downscale_labels(labels_BHW, factor, self.min_ratio, self.num_classes)
        if coarse_Bhw.shape != shape_Bhw:
            raise ValueError(f'features {tuple(shape_Bhw[1:])} do not divide labels {tuple(labels_BHW.shape[1:])} by '
                             f'{factor}: make the crop size a multiple of the backbone\'s stride')
        return torch.isin(coarse_Bhw, torch.tensor(self.classes, device=labels_BHW.device))


def downscale_labels(labels_BHW: Tensor, factor: int, min_ratio: float, num_classes: int) -> Tensor:
    """Shrinks labels to the majority class of each block.

    Args:
        labels_BHW: int64 class ids, 255 = ignore, which counts as a class of its own.
        factor: Side of a block in pixels.
        min_ratio: Least share of the majority class.
        num_classes: Number of classes; of equally frequent ones the lowest id wins, ignore last.

    Returns:
        int64 [B, H // factor, W // factor], 255 where ignore wins or the share is below ``min_ratio``.
    """
    labels_BHW = torch.where(labels_BHW == IGNORE_INDEX, num_classes, labels_BHW)
    one_hot = torch.zeros((labels_BHW.shape[0], num_classes + 1, *labels_BHW.shape[1:]), device=labels_BHW.device)
    shares = F.avg_pool2d(one_hot.scatter_(1, labels_BHW[:, None], 1), factor)
    share, winner = shares.max(dim=1)
    return torch.where((winner == num_classes) | (share < min_ratio), IGNORE_INDEX, winner)


def _as_list(features: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [features] if isinstance(features, Tensor) else list(features)
