"""Entropy minimisation on target predictions (MinEnt of ADVENT, Vu et al., CVPR 2019)."""
import torch
from mmengine.dist import all_reduce, get_world_size
from mmseg.registry import MODELS
from torch import Tensor

from ..step_context import StepContext
from .objective import Objective


@MODELS.register_module()
class EntropyMinimisation(Objective):
    """Mean entropy of the student's target predictions, as a share of the largest entropy possible.

    Pixels that padding added do not count.

    Args:
        weight: Factor of the loss, above 0; 0.001 in the published configs.
        name: Prefix in the log.

    Raises:
        ValueError: If the weight is not above 0.
    """

    needs_source = False
    needs_target = True
    needs_predictions = True

    def __init__(self, weight: float = 0.001, name: str = 'entropy') -> None:
        super().__init__(name)
        if weight <= 0:
            raise ValueError(f'EntropyMinimisation got weight={weight}, which trains nothing: give one above 0, or '
                             'remove the objective')
        self.weight = weight

    def forward(self, context: StepContext) -> dict[str, Tensor]:
        """Computes the weighted entropy of the predictions on the target images."""
        logits_BCHW = context.predict_student(self.name, context.target.images_BCHW)
        entropy_BHW = context.student.label_rule.normalised_entropy(logits_BCHW)
        # The mean is over the real pixels of all processes, of which some may have padded; DDP divides by their number.
        padded = context.target.real_BHW is not None
        real_BHW = context.target.real_BHW if padded else torch.ones_like(entropy_BHW, dtype=torch.bool)
        count = real_BHW.sum()
        all_reduce(count)
        share = real_BHW.numel() * get_world_size() / count.clamp(min=1).to(entropy_BHW.dtype)
        return dict(loss=self.weight * share * (entropy_BHW * real_BHW).mean())
