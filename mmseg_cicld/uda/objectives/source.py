"""Supervision on labelled source images, with the ImageNet feature distance of DAFormer (Hoyer et al., CVPR 2022).

Shape suffixes: B images, C channels, H and W input size, h and w feature size.
"""
import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from mmseg.models.losses import CrossEntropyLoss
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...models.head_losses import loss_modules
from ...models.segmentor_protocol import TrainableSegmentor, View, ViewFeatures, heads_of
from ..augmentation import build_augmentation
from ..step_context import StepContext, StudentBatch
from .objective import Objective

# Cityscapes train ids that DAFormer's published configs call things, light and sign among them.
THINGS = (6, 7, 11, 12, 13, 14, 15, 16, 17, 18)


@MODELS.register_module()
class SourceSupervision(Objective):
    """The segmentor's own losses on source images and labels.

    Args:
        feature_distance: Arguments of :class:`FeatureDistance`, off if None.
        augmentation: Config of an :class:`Augmentation` of the images, as in VFM-UDA++; None: none. Mixed images are
            made of the images without it.
        avg_non_ignore: Losses are means over labelled pixels, as those of torch, rather than over all pixels, as those
            of mmseg. Pixels are counted over the whole images of all processes. mmseg's key of the same name in the
            loss of the head would count so for mixed images too.
        name: Prefix in the log.

    Raises:
        ValueError: If the student has a loss that is no mean over all pixels, with ``avg_non_ignore``.
    """

    provides = 'source'

    def __init__(self, feature_distance: dict | None = None, augmentation: dict | None = None,
                 avg_non_ignore: bool = False, name: str = 'source') -> None:
        super().__init__(name)
        self.feature_distance = None if feature_distance is None else FeatureDistance(**feature_distance)
        self.augmentation = None if augmentation is None else build_augmentation(augmentation)
        self.avg_non_ignore = avg_non_ignore

    def attach(self, student: TrainableSegmentor) -> None:
        """Copies the student's encoder as the frozen reference of the feature distance, and checks the rest."""
        if self.feature_distance is not None:
            self.feature_distance.attach(student)
        if self.augmentation is not None:
            self.augmentation.check(student.normalisation, f'augmentation of {self.name}')
        if self.avg_non_ignore:
            _refuse_other_means(student, self.name)

    def start_from(self, student: TrainableSegmentor) -> None:
        """Gives the reference the weights that the student was initialised with."""
        if self.feature_distance is not None:
            self.feature_distance.start_from(student)

    def forward(self, context: StepContext) -> dict[str, Tensor]:
        """Computes the segmentation losses and, from the features of the same forward, the feature distance."""
        batch = StudentBatch(self._images(context), context.source.labels_BHW)
        views = context.student_views(self.name, batch.images_BCHW)
        features = [context.student.encode(view) for view in views]
        losses = dict(context.student_losses(self.name, features, batch).losses)
        if self.avg_non_ignore:
            factor = _pixels_a_labelled_one(batch.labels_BHW, context.student.ignore_index)
            losses = {key: value * factor if 'loss' in key else value for key, value in losses.items()}
        if self.feature_distance is not None:
            losses['loss_feature_distance'] = self.feature_distance(features[0], views[0], batch.labels_BHW)
        return losses

    def _images(self, context: StepContext) -> Tensor:
        if self.augmentation is None:
            return context.source.images_BCHW
        images_BCHW = context.augmented(self.name, self.augmentation, context.source.images_BCHW)
        context.show('augmented_image', images_BCHW)
        return images_BCHW


def _refuse_other_means(student: TrainableSegmentor, name: str) -> None:
    for key in ('decode_head', 'auxiliary_head'):
        for loss in (loss for head in heads_of(student.module, key) for loss in loss_modules(head)):
            if type(loss) is not CrossEntropyLoss or loss.class_weight is not None or loss.avg_non_ignore:
                raise ValueError(f'{name} has avg_non_ignore=True, which is for losses that are means over all pixels: '
                                 f"set loss_decode=dict(type='CrossEntropyLoss') without class_weight and "
                                 f'avg_non_ignore in model.segmentor.{key}, which has a {type(loss).__name__}, or '
                                 'remove avg_non_ignore from the objective')


def _pixels_a_labelled_one(labels_BHW: Tensor, ignore_index: int) -> Tensor:
    """Returns by how much a mean over all pixels of all processes is too small for one over labelled pixels."""
    counts = torch.stack([labels_BHW.new_tensor(labels_BHW.numel()), (labels_BHW != ignore_index).sum()])
    all_reduce(counts)
    return counts[0] / counts[1].clamp(min=1)


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
        self.num_classes, self.ignore_index = 0, 255

    def attach(self, student: TrainableSegmentor) -> None:
        """Makes a frozen copy of the student without its heads."""
        self.num_classes, self.ignore_index = student.num_classes, student.ignore_index
        if self.classes is not None and max(self.classes) >= self.num_classes:
            raise ValueError(f'feature_distance.classes holds {max(self.classes)}, but the segmentor predicts '
                             f'{self.num_classes} classes: list ids below that, or None for all locations')
        heads = [getattr(student.module, key) for key in ('decode_head', 'auxiliary_head')
                 if heads_of(student.module, key)]
        shared = {id(tensor): tensor for tensor in student.frozen_state.values()}
        self.frozen = copy.deepcopy(student.module, {**{id(head): nn.Identity() for head in heads}, **shared})
        self.frozen.requires_grad_(False).eval()

    def start_from(self, student: TrainableSegmentor) -> None:
        """Brings the frozen copy up to date."""
        self.frozen.load_state_dict(student.module.state_dict(), strict=False)

    def train(self, mode: bool = True) -> 'FeatureDistance':
        """Sets the mode; the frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen is not None:
            self.frozen.eval()
        return self

    def forward(self, features: ViewFeatures, view: View, labels_BHW: Tensor) -> Tensor:
        """Computes the weighted distance.

        Args:
            features: The student's features of the whole images, with gradient; the last level counts.
            view: What the encoder saw.
            labels_BHW: The labels of the images.
        """
        features_BChw = features.levels[-1]
        with torch.no_grad():
            reference_BChw = TrainableSegmentor(self.frozen).encode(view).levels[-1]
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
        coarse_Bhw = downscale_labels(labels_BHW, factor, self.min_ratio, self.num_classes, self.ignore_index)
        if coarse_Bhw.shape != shape_Bhw:
            raise ValueError(f'features {tuple(shape_Bhw[1:])} do not divide labels {tuple(labels_BHW.shape[1:])} by '
                             f'{factor}: make the crop size a multiple of the backbone\'s stride')
        return torch.isin(coarse_Bhw, torch.tensor(self.classes, device=labels_BHW.device))


def downscale_labels(labels_BHW: Tensor, factor: int, min_ratio: float, num_classes: int,
                     ignore_index: int = 255) -> Tensor:
    """Shrinks labels to the majority class of each block.

    Args:
        labels_BHW: int64 class ids; ``ignore_index`` counts as a class of its own.
        factor: Side of a block in pixels.
        min_ratio: Least share of the majority class.
        num_classes: Number of classes; of equally frequent ones the lowest id wins, ignore last.
        ignore_index: Label of pixels without a class.

    Returns:
        int64 [B, H // factor, W // factor], ``ignore_index`` where ignore wins or the share is below ``min_ratio``.
    """
    labels_BHW = torch.where(labels_BHW == ignore_index, num_classes, labels_BHW)
    one_hot = torch.zeros((labels_BHW.shape[0], num_classes + 1, *labels_BHW.shape[1:]), device=labels_BHW.device)
    shares = F.avg_pool2d(one_hot.scatter_(1, labels_BHW[:, None], 1), factor)
    share, winner = shares.max(dim=1)
    return torch.where((winner == num_classes) | (share < min_ratio), ignore_index, winner)
