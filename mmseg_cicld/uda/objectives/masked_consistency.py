"""Masked image consistency (MIC, Hoyer et al., CVPR 2023, section 3.2).

Shape suffixes: B images, C channels, H and W height and width, h and w height and width of the block grid.
"""
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..pseudo_labels import PseudoLabelRule, PseudoLabels
from ..segmentor_contract import normalisation
from ..step_context import StepContext
from ..strong_augmentation import StrongAugmentation
from ..teacher import EMATeacher
from .objective import Objective

IMAGES = ('target', 'source', 'both')
MAIN_LOSS = 'decode.loss'


@MODELS.register_module()
class MaskedConsistency(Objective):
    """The segmentor's own losses on images of which random blocks are hidden, over hidden and visible pixels alike.

    Target images are supervised by pseudo-labels of the clean image, source images by their labels.

    Args:
        block: Side of a block in pixels: 64 for crops of 1024, 32 for crops of 512 in the published configs.
        ratio: Share of the blocks that are hidden, in [0, 1].
        images: ``'target'``, ``'source'``, or ``'both'``: the first half of each, rounded up.
        augment: Colour jitter and blur before masking, in the published probabilities.
        weight: Factor of the main head's loss. As published, the detail and context losses of HRDA keep theirs.
        threshold: Probability above which a pixel counts as confident, None weighs all pseudo-labels 1.
        ignore_top: Rows at the top of the crop without pseudo-label loss.
        ignore_bottom: Rows at the bottom without it.
        own_teacher: Arguments of an :class:`EMATeacher` of this objective alone; None shares that of the model.
        name: Prefix in the log.

    Raises:
        ValueError: If a value is out of its range.
    """

    def __init__(self, block: int = 64, ratio: float = 0.7, images: str = 'target', augment: bool = True,
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
        self.augmentation = StrongAugmentation() if augment else None
        self.rule = PseudoLabelRule(threshold, ignore_top, ignore_bottom)
        self.needs_target = images != 'source'
        self.needs_teacher = self.needs_target and own_teacher is None
        self.teacher: EMATeacher | None = None
        self._own_teacher = own_teacher

    def attach(self, student: nn.Module) -> None:
        """Builds the teacher of its own, or brings the one there is up to date."""
        if self._own_teacher is None:
            return
        if self.teacher is None:
            self.teacher = EMATeacher(student, **self._own_teacher)
        else:
            self.teacher.copy_from(student)

    @property
    def copies_of_student(self) -> Mapping[str, nn.Module]:
        """The teacher of its own."""
        return {} if self.teacher is None else {'teacher': self.teacher}

    def forward(self, context: StepContext) -> dict[str, Tensor]:
        """Computes the losses on the masked images."""
        images_BCHW, labels_BHW, weights_BHW = self._supervision(context)
        images_BCHW = self._masked(context, images_BCHW)
        context.show('masked_image', images_BCHW)
        losses = context.train_student(self.name, images_BCHW, labels_BHW, weights_BHW).losses
        return {key: value * self.weight if key.startswith(MAIN_LOSS) else value for key, value in losses.items()}

    def _supervision(self, context: StepContext) -> tuple[Tensor, Tensor, Tensor | None]:
        source, target = context.source, context.target
        if self.images == 'source':
            return source.images_BCHW, source.labels_BHW, None
        pseudo = self._pseudo_labels(context)
        if self.images == 'target':
            return target.images_BCHW, pseudo.labels_BHW, pseudo.weights_BHW
        half = (len(source.images_BCHW) + 1) // 2
        weights_BHW = torch.cat([torch.ones_like(pseudo.weights_BHW[:half]), pseudo.weights_BHW[:half]])
        return (torch.cat([source.images_BCHW[:half], target.images_BCHW[:half]]),
                torch.cat([source.labels_BHW[:half], pseudo.labels_BHW[:half]]), weights_BHW)

    def _pseudo_labels(self, context: StepContext) -> PseudoLabels:
        if self.teacher is None:
            return context.pseudo_labels(self.rule)
        return self.rule(self.teacher.logits(context.target.images_BCHW), context.target.valid_B1HW)

    @torch.no_grad()
    def _masked(self, context: StepContext, images_BCHW: Tensor) -> Tensor:
        def uniform(name: str, *key: int, size: int | tuple[int, ...] | None = None) -> np.ndarray | float:
            return context.uniform(f'{self.name}.{name}', *key, size=size)

        indices = context.sample_indices(len(images_BCHW))
        if self.augmentation is not None:
            images_BCHW = self.augmentation(images_BCHW, normalisation(context.student), uniform, indices,
                                            order_and_blur_of_first=True)
        return images_BCHW * block_masks(images_BCHW.shape[2:], self.block, self.ratio, uniform, indices).to(images_BCHW)


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
