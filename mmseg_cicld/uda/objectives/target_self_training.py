"""Self-training on target images alone, for adaptation without the source data."""
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from mmengine.dist import all_reduce
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...models.segmentor_protocol import TrainableSegmentor
from ..augmentation import build_augmentation
from ..class_shares import ClassShares
from ..pseudo_labels import PseudoLabels
from ..step_context import StepContext
from .objective import Objective


@dataclass(frozen=True)
class ConfidentPixelRule:
    """Pseudo-labels that weigh 1 where the teacher is confident, and 0 elsewhere.

    Args:
        threshold: Confidence in [0, 1] from which on a pixel is confident.

    Raises:
        ValueError: If it is out of its range.
    """

    threshold: float

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f'threshold of TargetSelfTraining is {self.threshold}, allowed are values in [0, 1]')

    def __call__(self, labels_BHW: Tensor, confidence_BHW: Tensor, valid_B1HW: Tensor | None = None,
                 real_BHW: Tensor | None = None) -> PseudoLabels:
        """Makes pseudo-labels, see :class:`PseudoLabelRule`."""
        real = torch.ones_like(labels_BHW, dtype=torch.bool) if real_BHW is None else real_BHW
        confident_BHW = (confidence_BHW >= self.threshold) & real
        counts = torch.stack([confident_BHW.sum(), real.sum()])
        all_reduce(counts)
        share = (counts[0] / counts[1].clamp(min=1)).to(confidence_BHW.dtype)
        usable_BHW = confident_BHW if valid_B1HW is None else confident_BHW & (valid_B1HW[:, 0] == 1)
        return PseudoLabels(labels_BHW, usable_BHW.to(confidence_BHW.dtype), share)


@MODELS.register_module()
class TargetSelfTraining(Objective):
    """The segmentor's own losses on strongly augmented target images, with the teacher's labels of the clean ones.

    Without labels to hold on to, classes can vanish: the shares of the pseudo-labels are kept from the start on, and
    ``CollapseHook`` looks at them. Put :class:`ClassBalance` beside it against that.

    Args:
        threshold: Probability in [0, 1] from which on a pixel is trained on; the others are left out. In adaptation with
            source data all pixels get one weight instead, because the source keeps wrong labels in check.
        augmentation: Config of an :class:`Augmentation`, or arguments of :class:`StrongAugmentation`.
        name: Prefix in the log.
    """

    needs_source = False
    needs_target = True
    needs_teacher = True

    def __init__(self, threshold: float = 0.9, augmentation: dict | None = None, name: str = 'target') -> None:
        super().__init__(name)
        self.rule = ConfidentPixelRule(threshold)
        self.augmentation = build_augmentation(augmentation)
        self.class_shares: ClassShares | None = None

    def attach(self, student: TrainableSegmentor) -> None:
        """Begins to count classes, and checks that the augmentation is for the student's images."""
        self.augmentation.check(student.normalisation, f'augmentation of {self.name}')
        self.class_shares = ClassShares(student.num_classes)

    @property
    def counted_classes(self) -> Mapping[str, nn.Module]:
        """What ``CollapseHook`` looks at."""
        return {} if self.class_shares is None else {self.name: self.class_shares}

    def forward(self, context: StepContext) -> dict[str, Tensor]:
        """Computes the losses on augmented target images and logs the confident share of the pseudo-labels."""
        target, pseudo = context.target, context.pseudo_labels(self.rule)
        self.class_shares.update(pseudo.labels_BHW, target.real_BHW)
        images_BCHW = context.augmented(self.name, self.augmentation, target.images_BCHW)
        context.show('augmented_target_image', images_BCHW)
        output = context.train_student(self.name, images_BCHW, pseudo.labels_BHW, pseudo.weights_BHW)
        return dict(output.losses, confident_share=pseudo.confident_share)
