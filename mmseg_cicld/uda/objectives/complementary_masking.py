"""Complementary masks of one image (MaskTwins, Wang et al., ICML 2025): two halves that agree on the whole.

Shape suffixes: B images, C classes, H and W height and width.
"""
import numpy as np
import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...models.precision import full_precision
from ...models.segmentor_protocol import TrainableSegmentor
from ..augmentation import build_augmentation
from ..pseudo_labels import PseudoLabelRule
from ..step_context import StepContext
from .masked_consistency import block_masks
from .objective import Objective


@MODELS.register_module()
class ComplementaryMasking(Objective):
    """The segmentor's own losses on target images of which one half of the blocks is hidden, and on the other half.

    Both are taught by the pseudo-labels of the whole image, each with half of the weight, and their logits by each other:
    the mean squared difference of what the main head predicts. Pixels that padding added do not count in it.

    Args:
        block: Side of a block in pixels: 64 for crops of 1024, a sixteenth of the crop.
        ratio: Share of the blocks that the first image lacks and the second shows, in [0, 1].
        consistency: Factor of the squared difference, from 0 on.
        augment: Augmentation before masking, the same for both: True for colour jitter and blur in MIC's probabilities,
            False for none, or the config of another :class:`Augmentation`.
        threshold: Probability above which a pixel counts as confident, None weighs all pseudo-labels 1.
        ignore_top: Rows at the top of the crop without pseudo-label loss.
        ignore_bottom: Rows at the bottom without it.
        name: Prefix in the log.

    Raises:
        ValueError: If a value is out of its range.
    """

    needs_target = True
    needs_teacher = True

    def __init__(self, block: int = 64, ratio: float = 0.5, consistency: float = 0.01, augment: bool | dict = True,
                 threshold: float | None = 0.968, ignore_top: int = 0, ignore_bottom: int = 0,
                 name: str = 'twins') -> None:
        super().__init__(name)
        if block < 1 or not 0 <= ratio <= 1 or consistency < 0:
            raise ValueError(f'ComplementaryMasking got block={block}, ratio={ratio}, consistency={consistency}: a block has '
                             'at least one pixel, a ratio lies in [0, 1], a factor is not negative')
        self.block, self.ratio, self.consistency = block, ratio, consistency
        self.augmentation = None
        if augment:
            self.augmentation = build_augmentation(augment if isinstance(augment, dict) else None,
                                                   order_and_blur_of_first=True)
        self.rule = PseudoLabelRule(threshold, ignore_top, ignore_bottom)

    def attach(self, student: TrainableSegmentor) -> None:
        """Checks that the augmentation is for the student's images."""
        if self.augmentation is not None:
            self.augmentation.check(student.normalisation, f'augment of {self.name}')

    def forward(self, context: StepContext) -> dict[str, Tensor]:
        """Computes the losses of both images and of their agreement."""
        pseudo = context.pseudo_labels(self.rule)
        losses: dict[str, Tensor] = {}
        logits = []
        for twin, images_BCHW in zip(('first', 'second'), self._twins(context), strict=True):
            name = f'{self.name}.{twin}'
            context.show(f'{twin}_masked_image', images_BCHW)
            output = context.train_student(name, images_BCHW, pseudo.labels_BHW, pseudo.weights_BHW)
            losses.update({f'{twin}.{key}': value / 2 if 'loss' in key else value for key, value in output.losses.items()})
            logits.append(full_precision(output.logits_BCHW))
        difference = _mean_squared_difference(logits[0], logits[1], context.target.real_BHW)
        losses['loss_consistency'] = self.consistency * difference
        return losses

    @torch.no_grad()
    def _twins(self, context: StepContext) -> tuple[Tensor, Tensor]:
        """Returns the target images without the hidden blocks, and these alone."""
        def uniform(name: str, *key: int, size: int | tuple[int, ...] | None = None) -> np.ndarray | float:
            return context.uniform(f'{self.name}.{name}', *key, size=size)

        images_BCHW = context.target.images_BCHW
        indices = context.sample_indices(len(images_BCHW))
        if self.augmentation is not None:
            images_BCHW = self.augmentation(images_BCHW, context.student.normalisation, uniform, indices)
        visible_B1HW = block_masks(images_BCHW.shape[2:], self.block, self.ratio, uniform, indices).to(images_BCHW)
        return images_BCHW * visible_B1HW, images_BCHW * (1 - visible_B1HW)


def _mean_squared_difference(first_BCHW: Tensor, second_BCHW: Tensor, real_BHW: Tensor | None) -> Tensor:
    squares_BHW = (first_BCHW - second_BCHW).square().mean(dim=1)
    return squares_BHW.mean() if real_BHW is None else (squares_BHW * real_BHW).mean()
