"""Class balance of target predictions: what keeps self-training without source data from one class for all.

Shape suffixes: B images, K classes, H and W height and width.
"""
import math

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...models.precision import full_precision
from ..step_context import StepContext
from .objective import Objective


@MODELS.register_module()
class ClassBalance(Objective):
    """Distance of the mean prediction from equal shares: ``1 - H(mean over pixels of p) / log K``.

    The diversity term of SHOT (Liang et al., ICML 2020, eq. 3), over the pixels of this process's batch, scaled to
    [0, 1]. Classes of a street are not equally common, so its weight is to be small: enough that rare ones do not vanish.

    Args:
        weight: Factor of the loss, above 0.
        name: Prefix in the log.

    Raises:
        ValueError: If the weight is not above 0.
    """

    needs_source = False
    needs_target = True
    needs_predictions = True

    def __init__(self, weight: float = 0.1, name: str = 'balance') -> None:
        super().__init__(name)
        if weight <= 0:
            raise ValueError(f'ClassBalance got weight={weight}, which trains nothing: give one above 0, or remove the '
                             'objective')
        self.weight = weight

    def forward(self, context: StepContext) -> dict[str, Tensor]:
        """Computes the weighted distance on the target images."""
        rule = context.student.label_rule
        logits_BCHW = context.predict_student(self.name, context.target.images_BCHW)
        probabilities_BKHW = rule.probabilities(full_precision(logits_BCHW))
        real_BHW = context.target.real_BHW
        if real_BHW is None:
            mean_K = probabilities_BKHW.mean(dim=(0, 2, 3))
        else:
            mean_K = (probabilities_BKHW * real_BHW[:, None]).sum(dim=(0, 2, 3)) / real_BHW.sum().clamp(min=1)
        entropy = torch.special.entr(mean_K).sum() / math.log(rule.num_classes)
        return dict(loss=self.weight * (1 - entropy))
