"""Self-training on ClassMix images with pseudo-labels of the EMA teacher (DACS, Tranheden et al., WACV 2021)."""
from mmseg.registry import MODELS
from torch import Tensor

from ...models.segmentor_protocol import TrainableSegmentor
from ..augmentation import build_augmentation
from ..pseudo_labels import PseudoLabelRule
from ..step_context import StepContext
from .objective import Objective


@MODELS.register_module()
class ClassMixSelfTraining(Objective):
    """The segmentor's own losses on mixed images, weighted by the confidence of the pseudo-labels.

    Args:
        threshold: Probability above which a pixel counts as confident, in [0, 1].
        ignore_top: Rows at the top of the crop without pseudo-label loss (15 in DAFormer's published configs).
        ignore_bottom: Rows at the bottom without it (120 there; right for crops that span the full image height).
        augmentation: Config of an :class:`Augmentation`, or arguments of :class:`StrongAugmentation`.
        target_augmentation: Config of an :class:`Augmentation` of the target images before they are mixed, as in
            VFM-UDA++; None: none.
        name: Prefix in the log.
    """

    needs_target = True
    needs_teacher = True
    provides = 'mixed'

    def __init__(self, threshold: float = 0.968, ignore_top: int = 0, ignore_bottom: int = 0,
                 augmentation: dict | None = None, target_augmentation: dict | None = None,
                 name: str = 'mix') -> None:
        super().__init__(name)
        self.rule = PseudoLabelRule(threshold, ignore_top, ignore_bottom)
        self.augmentation = build_augmentation(augmentation)
        self.target_augmentation = None if target_augmentation is None else build_augmentation(target_augmentation)

    def attach(self, student: TrainableSegmentor) -> None:
        """Checks that the augmentation is for the student's images."""
        self.augmentation.check(student.normalisation, f'augmentation of {self.name}')
        if self.target_augmentation is not None:
            self.target_augmentation.check(student.normalisation, f'target_augmentation of {self.name}')

    def forward(self, context: StepContext) -> dict[str, Tensor]:
        """Computes the losses on the mixed batch and logs the confident share of the pseudo-labels."""
        mixed = context.mixed(self.rule, self.augmentation, self.target_augmentation)
        output = context.train_student(self.name, mixed.images_BCHW, mixed.labels_BHW, mixed.weights_BHW)
        return dict(output.losses, confident_share=context.pseudo_labels(self.rule).confident_share)
