"""What a step tells of the target domain without its labels.

Shape suffixes: B images, C channels of the logits, K classes, H and W height and width.
"""
import contextlib
from collections.abc import Iterator

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from .step_context import StepContext


@torch.no_grad()
def target_statistics(context: StepContext) -> dict[str, Tensor]:
    """Measures how sure the networks are of the target images of a step, and whether they agree.

    The student predicts in evaluation mode, as it is after the step; the teacher's predictions are those that the step
    has used, and are not made for this. So nothing of the training changes: no statistics of batch norms, no draws.
    To be called by all processes together.

    Args:
        context: The step, after its objectives.

    Returns:
        Over the real pixels of all processes, ``class_shares``, float64 [K] in [0, 1], and ``confidence``, the mean
        probability of the predicted class, both of the teacher or, if it has not predicted in this step, of the
        student; ``agreement``, the share of pixels with equal labels, and ``confident_share`` where there are
        pseudo-labels with a threshold. Nothing without target images.
    """
    if context.target is None:
        return {}
    with _evaluating(context.student.module):
        logits_BCHW = context.student.predict(context.target.images_BCHW)
    rule = context.student.label_rule
    student_BHW, confidence_BHW = rule.labels_and_confidence(logits_BCHW)
    by_teacher = context.teacher_prediction()
    labels_BHW, confidence_BHW = by_teacher or (student_BHW, confidence_BHW)
    real_BHW = context.target.real_BHW
    real_BHW = torch.ones_like(labels_BHW, dtype=torch.bool) if real_BHW is None else real_BHW
    equal_BHW = (labels_BHW == student_BHW) & real_BHW
    sums = torch.cat([torch.bincount(labels_BHW[real_BHW], minlength=rule.num_classes).double(), torch.stack(
        [confidence_BHW[real_BHW].double().sum(), equal_BHW.sum().double(), real_BHW.sum().double()])])
    all_reduce(sums)
    shares = sums / sums[-1].clamp(min=1)
    statistics = dict(class_shares=shares[:-3], confidence=shares[-3])
    if by_teacher is not None:
        statistics['agreement'] = shares[-2]
    share = context.confident_share()
    return statistics if share is None else dict(statistics, confident_share=share)


@contextlib.contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Puts a network into evaluation mode, and each of its modules back into its own."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
