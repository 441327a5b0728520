"""Latents of source, mixed and target images for objectives that compare them.

Shape suffixes: B images, C channels, H and W size of the images, h and w size of the latents.
"""
import contextlib
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..pseudo_labels import PseudoLabelRule
from ..segmentor_contract import IGNORE_INDEX
from ..step_context import StepContext, StudentBatch
from ..strong_augmentation import StrongAugmentation


class DomainLatents(NamedTuple):
    """Latents float [B, C, h, w], and the labels int64 [B, H, W] of their images, None for the target."""

    latents_BChw: Tensor
    labels_BHW: Tensor | None


@dataclass(frozen=True)
class LatentSource:
    """Where the latents of the three domains come from.

    Args:
        source: Name of the objective before, which ran the student on the source images: its latents are used again.
            None encodes the images here.
        mixed: Likewise for the mixed images.
        mixing: With ``mixed=None``, how they are made: ``threshold``, ``ignore_top``, ``ignore_bottom`` and
            ``augmentation`` as in ``ClassMixSelfTraining``.
        encoder_gradient: Whether gradients reach the encoder. All images are then encoded here, since the latents of
            other objectives have lost their graph.
    """

    source: str | None
    mixed: str | None
    mixing: dict | None
    encoder_gradient: bool

    def __call__(self, context: StepContext, domain: str) -> DomainLatents:
        """Returns latents and labels of ``'source'``, ``'mixed'`` or ``'target'`` images.

        Raises:
            RuntimeError: If an objective that should have run before did not.
        """
        if domain == 'target':
            return DomainLatents(self._encoded(context.student, context.target.images_BCHW), None)
        if domain == 'source':
            images_BCHW, labels_BHW = context.source.images_BCHW, context.source.labels_BHW
            return DomainLatents(self._latents(context, self.source, images_BCHW), labels_BHW)
        images_BCHW, labels_BHW, weights_BHW = self._mixed_batch(context)
        if weights_BHW is not None:
            labels_BHW = labels_BHW.masked_fill(weights_BHW == 0, IGNORE_INDEX)
        return DomainLatents(self._latents(context, self.mixed, images_BCHW), labels_BHW)

    def _latents(self, context: StepContext, objective: str | None, images_BCHW: Tensor) -> Tensor:
        if objective is None or self.encoder_gradient:
            return self._encoded(context.student, images_BCHW)
        return _of_objective(context.last_features, objective)

    def _mixed_batch(self, context: StepContext) -> StudentBatch:
        if self.mixed is not None:
            return _of_objective(context.last_batches, self.mixed)
        mixing = dict(self.mixing)
        augmentation = StrongAugmentation(**mixing.pop('augmentation', {}))
        mixed = context.mixed(PseudoLabelRule(**mixing), augmentation)
        return StudentBatch(mixed.images_BCHW, mixed.labels_BHW, mixed.weights_BHW)

    def _encoded(self, student: nn.Module, images_BCHW: Tensor) -> Tensor:
        with contextlib.nullcontext() if self.encoder_gradient else torch.no_grad():
            return student.extract_feat(images_BCHW)[-1]


def _of_objective(there: dict, objective: str) -> Tensor | StudentBatch:
    if objective not in there:
        raise RuntimeError(
            f"LatentDomainAlignment needs the latents of an objective called '{objective}' before it: put "
            "SourceSupervision (called 'source') and ClassMixSelfTraining (called 'mix') before it in model.objectives,"
            ' give its source= and mixed= the names that yours have, or None to encode the images once more')
    return there[objective]
