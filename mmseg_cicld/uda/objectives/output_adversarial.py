"""Adversarial alignment of source and target predictions (AdaptSegNet, Tsai et al., CVPR 2018).

Shape suffixes: B images, C classes, H and W height and width.
"""
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.func import functional_call

from ...models.segmentor_protocol import TrainableSegmentor
from ..step_context import StepContext
from .objective import NeededPass, Objective

SOURCE, TARGET = 0.0, 1.0


@MODELS.register_module()
class OutputSpaceAdversarial(Objective):
    """A discriminator learns to tell the domains of predictions apart, the student to pass target for source.

    Both train in the same step with the same optimiser. The discriminator sees detached predictions; the student
    sees a discriminator whose parameters receive no gradient.

    Args:
        weight: Factor of the student's loss, 0.001 in the published configs.
        loss: ``'least_squares'`` or ``'cross_entropy'``.
        source: Name of the objective earlier in the list whose source predictions are used again.
        name: Prefix in the log.

    Raises:
        ValueError: If ``loss`` is not one of the two.
    """

    needs_target = True
    needs_predictions = True

    def __init__(self, weight: float = 0.001, loss: str = 'least_squares', source: str = 'source',
                 name: str = 'adversarial') -> None:
        super().__init__(name)
        losses = dict(least_squares=F.mse_loss, cross_entropy=F.binary_cross_entropy_with_logits)
        if loss not in losses:
            raise ValueError(f"OutputSpaceAdversarial got loss='{loss}', allowed are {sorted(losses)}")
        self.weight, self._loss, self.source = weight, losses[loss], source
        self.discriminator = nn.Sequential()

    @property
    def needs(self) -> Mapping[str, NeededPass]:
        """The predictions on the source images."""
        return dict(source=NeededPass(self.source, 'source'))

    def attach(self, student: TrainableSegmentor) -> None:
        """Builds the discriminator for the student's number of classes."""
        self.discriminator = build_discriminator(student.num_classes)

    def forward(self, context: StepContext) -> dict[str, Tensor]:
        """Computes the student's and the discriminator's losses."""
        probabilities = context.student.label_rule.probabilities
        source_BCHW = probabilities(context.student_pass(self.source).logits_BCHW)
        target_BCHW = probabilities(context.predict_student(self.name, context.target.images_BCHW))
        frozen = {key: value.detach() for key, value in self.discriminator.named_parameters()}
        return dict(
            loss_student=self.weight * self._judge(functional_call(self.discriminator, frozen, target_BCHW), SOURCE),
            loss_discriminator_source=0.5 * self._judge(self.discriminator(source_BCHW), SOURCE),
            loss_discriminator_target=0.5 * self._judge(self.discriminator(target_BCHW.detach()), TARGET))

    def _judge(self, scores: Tensor, domain: float) -> Tensor:
        return self._loss(scores, torch.full_like(scores, domain))


def build_discriminator(num_classes: int) -> nn.Sequential:
    """Builds the patch discriminator: five 4x4 convolutions of stride 2, leaky ReLU 0.2 between, no norm."""
    layers: list[nn.Module] = []
    channels = (num_classes, 64, 128, 256, 512, 1)
    for before, after in zip(channels, channels[1:]):
        layers += [nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])
