"""Masked image consistency (MIC, Hoyer et al., CVPR 2023, section 3.2).

Shape suffixes: B images, C channels, H and W height and width, h and w height and width of the block grid.
"""
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, get_rank, get_world_size
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...models.segmentor_protocol import TrainableSegmentor
from ..augmentation import build_augmentation
from ..pseudo_labels import PseudoLabelRule, PseudoLabels
from ..step_context import StepContext, StudentBatch
from ..teacher import EMATeacher
from .objective import Objective

IMAGES = ('target', 'source', 'both')


@MODELS.register_module()
class MaskedConsistency(Objective):
    """The segmentor's own losses on images of which random blocks are hidden, over hidden and visible pixels alike.

    Target images are supervised by pseudo-labels of the clean image, source images by their labels.

    Args:
        block: Side of a block in pixels: 64 for crops of 1024, 32 for crops of 512 in the published configs.
        ratio: Share of the blocks that are hidden, in [0, 1].
        images: ``'target'``, ``'source'``, or ``'both'``: the first half of each, rounded up, of the batch of all
            processes, which share the work.
        augment: Augmentation before masking: True for colour jitter and blur in the published probabilities, False for
            none, or the config of another :class:`Augmentation`.
        weight: Factor of the main head's losses, in a cascade those of the last stage. Auxiliary heads, earlier stages
            and, as published, the detail and context losses of HRDA keep theirs.
        threshold: Probability above which a pixel counts as confident, None weighs all pseudo-labels 1.
        ignore_top: Rows at the top of the crop without pseudo-label loss.
        ignore_bottom: Rows at the bottom without it.
        own_teacher: Arguments of an :class:`EMATeacher` of this objective alone; None shares that of the model.
        name: Prefix in the log.

    Raises:
        ValueError: If a value is out of its range.
    """

    def __init__(self, block: int = 64, ratio: float = 0.7, images: str = 'target', augment: bool | dict = True,
                 weight: float = 1.0, threshold: float | None = 0.968, ignore_top: int = 0, ignore_bottom: int = 0,
                 own_teacher: dict | None = None, name: str = 'masked') -> None:
        super().__init__(name)
        if images not in IMAGES:
            raise ValueError(f"MaskedConsistency got images='{images}', allowed are {IMAGES}")
        if block < 1 or not 0 <= ratio <= 1:
            raise ValueError(f'MaskedConsistency got block={block}, ratio={ratio}: a block has at least one pixel, a '
                             'ratio lies in [0, 1]')
        if own_teacher is not None and images == 'source':
            raise ValueError("MaskedConsistency with images='source' has no pseudo-labels: remove own_teacher")
        self.block, self.ratio, self.images, self.weight = block, ratio, images, weight
        self.augmentation = None
        if augment:
            self.augmentation = build_augmentation(augment if isinstance(augment, dict) else None,
                                                   order_and_blur_of_first=True)
        self.rule = PseudoLabelRule(threshold, ignore_top, ignore_bottom)
        self.needs_source = images != 'target'
        self.needs_target = images != 'source'
        self.needs_teacher = self.needs_target and own_teacher is None
        self.teacher: EMATeacher | None = None
        self._own_teacher = own_teacher

    def attach(self, student: TrainableSegmentor) -> None:
        """Builds the teacher of its own, and checks that the augmentation is for the student's images."""
        if self.images == 'both' and get_world_size() > 1 and getattr(student.module.data_preprocessor, 'size', None) is None:
            raise ValueError(f"{self.name} has images='both', for which several processes exchange images of one size: set "
                             'model.segmentor.data_preprocessor.size to the crop size of the training pipelines')
        if self._own_teacher is not None:
            self.teacher = EMATeacher(student.module, **self._own_teacher)
        if self.augmentation is not None:
            self.augmentation.check(student.normalisation, f'augment of {self.name}')

    @property
    def copies_of_student(self) -> Mapping[str, nn.Module]:
        """The teacher of its own."""
        return {} if self.teacher is None else {'teacher': self.teacher}

    def forward(self, context: StepContext) -> dict[str, Tensor]:
        """Computes the losses on the masked images."""
        batch, share = self._supervision(context)
        images_BCHW = self._masked(context, batch.images_BCHW)
        context.show('masked_image', images_BCHW)
        losses = context.train_student(self.name, images_BCHW, batch.labels_BHW, batch.weights_BHW).losses
        factors = {key: self.weight if context.student.is_main_loss(key) else 1.0 for key in losses}
        return {key: value * (share * factors[key]) if 'loss' in key else value for key, value in losses.items()}

    def _supervision(self, context: StepContext) -> tuple[StudentBatch, float]:
        """Returns what is to be masked, and the factor that makes the mean over processes that over images."""
        source, target = context.source, context.target
        if self.images == 'source':
            return StudentBatch(source.images_BCHW, source.labels_BHW), 1.0
        pseudo = self._pseudo_labels(context)
        if self.images == 'target':
            return StudentBatch(target.images_BCHW, pseudo.labels_BHW, pseudo.weights_BHW), 1.0
        if source.images_BCHW.shape != target.images_BCHW.shape:
            raise ValueError(f"images='both' of {self.name} joins source {tuple(source.images_BCHW.shape)} and target "
                             f'{tuple(target.images_BCHW.shape)}: give both pipelines the same crop size')
        ones_BHW = torch.ones_like(pseudo.weights_BHW)
        both = [own_share_of_halves(*pair) for pair in (
            (source.images_BCHW, target.images_BCHW), (source.labels_BHW, pseudo.labels_BHW),
            (ones_BHW, pseudo.weights_BHW))]
        joined = 2 * ((len(ones_BHW) * get_world_size() + 1) // 2)
        return StudentBatch(*both), len(both[0]) * get_world_size() / joined

    def _pseudo_labels(self, context: StepContext) -> PseudoLabels:
        if self.teacher is None:
            return context.pseudo_labels(self.rule)
        return context.pseudo_labels_of(self.teacher, self.rule)

    @torch.no_grad()
    def _masked(self, context: StepContext, images_BCHW: Tensor) -> Tensor:
        def uniform(name: str, *key: int, size: int | tuple[int, ...] | None = None) -> np.ndarray | float:
            return context.uniform(f'{self.name}.{name}', *key, size=size)

        indices = context.sample_indices(len(images_BCHW))
        if self.augmentation is not None:
            images_BCHW = context.augmented(self.name, self.augmentation, images_BCHW)
        return images_BCHW * block_masks(images_BCHW.shape[2:], self.block, self.ratio, uniform, indices).to(images_BCHW)


def own_share_of_halves(source: Tensor, target: Tensor) -> Tensor:
    """Returns this process's part of the first half, rounded up, of source and of target over all processes.

    Sample k of process r is sample ``r + k * processes`` of the batch of all of them; so is it in the result.

    Args:
        source: [B, ...], of the same size in all processes.
        target: Likewise.
    """
    halves = []
    for own in (source, target):
        together = torch.stack(all_gather(own.contiguous()), dim=1).flatten(0, 1)
        halves.append(together[:(len(together) + 1) // 2])
    return torch.cat(halves)[get_rank()::get_world_size()]


def block_masks(size: Sequence[int], block: int, ratio: float, uniform: Callable[..., np.ndarray],
                indices: Sequence[int]) -> Tensor:
    """Draws a mask for each image: whole blocks are hidden, each with probability ``ratio``.

    Args:
        size: Height and width of the images.
        block: Side of a block in pixels; the grid has ``round(side / block)`` blocks, as published.
        ratio: Share of hidden blocks in [0, 1].
        uniform: ``uniform(name, *key, size=...)`` draws numbers in [0, 1).
        indices: Index of each image over all processes, keys its draws.

    Returns:
        float32 [B, 1, H, W], 1 = visible.

    Raises:
        ValueError: If an image has less than one block.
    """
    grid_hw = tuple(round(side / block) for side in size)
    if min(grid_hw) < 1:
        raise ValueError(f'images of size {tuple(size)} have no room for blocks of {block}: lower block of '
                         'MaskedConsistency or raise the crop size of the training pipelines')
    noise_Bhw = np.stack([uniform('noise', index, size=grid_hw) for index in indices])
    visible_B1hw = torch.from_numpy((noise_Bhw > ratio).astype(np.float32))[:, None]
    return F.interpolate(visible_B1hw, size=tuple(size), mode='nearest')
