"""Distance of features to those of a larger frozen foundation model (VFM-UDA++, Englert and Dubbelman, ICCVW 2025).

Shape suffixes: B images, C channels, D channels of the student, H and W input size, h and w size of the frozen maps.
"""
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...models.precision import full_precision
from ...models.segmentor_protocol import TrainableSegmentor
from ..augmentation import build_augmentation
from ..step_context import StepContext
from ..unsaved_network import UnsavedNetwork
from .objective import Objective

WEAK = dict(type='PhotometricAugmentation', brightness=32 / 255, contrast=0.5, saturation=0.5, hue=18 / 360,
            jitter_probability=0.9, grey_probability=0.0, blur_probability=0.0)
IMAGENET = dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


@MODELS.register_module()
class FoundationFeatureDistance(Objective):
    """Draws the student's coarsest features of both domains to those of a larger network, through a small head.

    The student sees the image with changed colours, the frozen network the clean one at a size of its own. At each
    place of the frozen map the loss is ``smooth_l1`` times the smooth L1 distance, the mean over channels, plus
    ``cosine`` times (1 - cosine similarity). Losses are means over places.

    Args:
        network: Config of the frozen backbone, whose last map counts.
        out_channels: Channels of that map, 1024 for DINOv2-L.
        channels: Channels of the student's last feature map; None: what its main head takes for the coarsest one.
        size: Height and width to which images are resized for the frozen network, 406 for patches of 14.
        normalisation: Mean and std of 8-bit images as the frozen network wants them, RGB.
        source_weight: Factor of the loss on source images, 0 for none.
        target_weight: Likewise on target images.
        smooth_l1: Share of the smooth L1 distance.
        cosine: Share of the cosine distance.
        augmentation: Config of an :class:`Augmentation` of the student's images, by default weak jitter; False: none.
        name: Prefix in the log.

    Raises:
        ValueError: If no domain has a weight, or the number of channels does not follow from the head.
    """

    def __init__(self, network: Mapping, out_channels: int = 1024, channels: int | None = None,
                 size: Sequence[int] = (406, 406), normalisation: Mapping = IMAGENET, source_weight: float = 0.1,
                 target_weight: float = 0.1, smooth_l1: float = 0.1, cosine: float = 0.9,
                 augmentation: Mapping | bool = WEAK, name: str = 'foundation') -> None:
        super().__init__(name)
        self.weights = {domain: weight for domain, weight in (('source', source_weight), ('target', target_weight))
                        if weight}
        if not self.weights or min(self.weights.values()) < 0:
            raise ValueError(f'FoundationFeatureDistance got source_weight={source_weight}, target_weight='
                             f'{target_weight}: give one of them, above 0')
        self.needs_source, self.needs_target = (domain in self.weights for domain in ('source', 'target'))
        self.frozen = UnsavedNetwork(network)
        self.size, self.smooth_l1, self.cosine = tuple(size), smooth_l1, cosine
        self.augmentation = build_augmentation(augmentation) if augmentation else None
        for key in ('mean', 'std'):
            self.register_buffer(f'_{key}', torch.tensor(normalisation[key])[None, :, None, None], persistent=False)
        self.head: nn.Module | None = None
        self._channels, self._out_channels, self._renormalises = channels, out_channels, False

    @property
    def passes(self) -> Sequence[Callable[[StepContext], dict[str, Tensor]]]:
        """One for each domain that has a weight."""
        return tuple(partial(self, domain=domain) for domain in self.weights)

    def attach(self, student: TrainableSegmentor) -> None:
        """Builds the head, and checks that the augmentation is for the student's images."""
        self.head = build_distance_head(self._channels or coarsest_channels(student, self.name), self._out_channels)
        mean, std = student.normalisation
        self._renormalises = not (torch.equal(mean, self._mean) and torch.equal(std, self._std))
        if self.augmentation is not None:
            self.augmentation.check(student.normalisation, f'augmentation of {self.name}')

    def start_from(self, student: TrainableSegmentor) -> None:
        """Builds the frozen network with its weights, so that what is wrong with them is known before training."""
        self.frozen.built()

    def forward(self, context: StepContext, domain: str) -> dict[str, Tensor]:
        """Computes the loss on the images of one domain, ``'source'`` or ``'target'``."""
        images_BCHW = getattr(context, domain).images_BCHW
        reference_BChw = self._reference(images_BCHW, context.student.normalisation)
        name = f'{self.name}.{domain}'
        if self.augmentation is not None:
            images_BCHW = context.augmented(name, self.augmentation, images_BCHW)
        view = context.student_views(name, images_BCHW)[0]
        projected_BCHW = self._projected(context.student.encode(view).levels[-1], reference_BChw.shape[1])
        projected_BChw = F.interpolate(projected_BCHW, size=reference_BChw.shape[2:], mode='bilinear',
                                       align_corners=False)
        return {f'loss_{domain}': self.weights[domain] * self._distance(projected_BChw, reference_BChw)}

    def _projected(self, features_BDHW: Tensor, channels: int) -> Tensor:
        wanted = self.head[0].in_features, self.head[-1].out_features
        if wanted != (features_BDHW.shape[1], channels):
            raise ValueError(f'{self.name} takes {wanted[0]} channels to {wanted[1]}, but the student has '
                             f'{features_BDHW.shape[1]} and the frozen network {channels}: set channels and out_channels '
                             'of the objective to these')
        return self.head(features_BDHW.movedim(1, -1)).movedim(-1, 1)

    def _reference(self, images_BCHW: Tensor, normalisation: tuple[Tensor, Tensor]) -> Tensor:
        mean, std = normalisation
        if self._renormalises:
            images_BCHW = (images_BCHW * std + mean - self._mean) / self._std
        resized_BCHW = F.interpolate(images_BCHW, size=self.size, mode='bilinear', align_corners=False)
        return self.frozen(resized_BCHW)[-1]

    def _distance(self, projected_BChw: Tensor, reference_BChw: Tensor) -> Tensor:
        projected_BChw, reference_BChw = full_precision(projected_BChw), full_precision(reference_BChw)
        smooth_Bhw = F.smooth_l1_loss(projected_BChw, reference_BChw, reduction='none').mean(dim=1)
        angle_Bhw = 1 - F.cosine_similarity(projected_BChw, reference_BChw, dim=1)
        return (self.smooth_l1 * smooth_Bhw + self.cosine * angle_Bhw).mean()


def build_distance_head(channels: int, out_channels: int) -> nn.Sequential:
    """Builds the head of the student's features, on maps [..., D]: 1x1 to 4 D, layer norm, GELU, 1x1."""
    return nn.Sequential(nn.Linear(channels, 4 * channels), nn.LayerNorm(4 * channels, eps=1e-6), nn.GELU(),
                         nn.Linear(4 * channels, out_channels))


def coarsest_channels(student: TrainableSegmentor, name: str) -> int:
    """Returns the channels of the student's last feature map, as its main head takes it.

    Raises:
        ValueError: If the head does not say so.
    """
    head = student.main_head
    channels, indices = getattr(head, 'in_channels', None), getattr(head, 'in_index', None)
    if isinstance(channels, int) and isinstance(indices, int):
        return channels
    if isinstance(channels, Sequence) and isinstance(indices, Sequence) and len(channels) == len(indices):
        return channels[list(indices).index(max(indices))]
    raise ValueError(f'{name} cannot read off {type(head).__name__} how many channels the last feature map of '
                     'model.segmentor has: set channels of the objective')
