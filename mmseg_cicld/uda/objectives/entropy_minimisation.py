"""Entropy minimisation on target predictions (MinEnt of ADVENT, Vu et al., CVPR 2019)."""
import math

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..step_context import StepContext
from .objective import Objective


@MODELS.register_module()
class EntropyMinimisation(Objective):
    """Mean entropy of the student's target predictions, as a share of the largest entropy possible.

    Args:
        weight: Factor of the loss, 0.001 in the published configs.
        name: Prefix in the log.
    """

    needs_target = True

    def __init__(self, weight: float = 0.001, name: str = 'entropy') -> None:
        super().__init__(name)
        self.weight = weight

    def forward(self, context: StepContext) -> dict[str, Tensor]:
        """Computes the weighted entropy of the predictions on the target images."""
        logits_BCHW = context.predict_student(self.name, context.target.images_BCHW)
        return dict(loss=self.weight * normalised_entropy(logits_BCHW))


def normalised_entropy(logits_BCHW: Tensor) -> Tensor:
    """Returns the mean over pixels of the entropy divided by the log of the number of classes, in [0, 1]."""
    log_probabilities = torch.log_softmax(logits_BCHW, dim=1)
    entropy_BHW = -(log_probabilities.exp() * log_probabilities).sum(dim=1)
    return entropy_BHW.mean() / math.log(logits_BCHW.shape[1])
