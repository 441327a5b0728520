"""Latents of source, mixed and target images for objectives that compare them.

Shape suffixes: B images, C channels, H and W size of the images, h and w size of the latents.
"""
import contextlib
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..augmentation import Augmentation, build_augmentation
from ..pseudo_labels import PseudoLabelRule
from ..step_context import StepContext, StudentBatch
from .objective import NeededPass


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

    def needs(self, mixed: bool) -> dict[str, NeededPass]:
        """Returns the training forwards that are used again; ``mixed``: whether mixed images are asked for."""
        needs = {}
        if self.source is not None and not self.encoder_gradient:
            needs['source'] = NeededPass(self.source, 'source')
        if mixed and self.mixed is not None:
            needs['mixed'] = NeededPass(self.mixed, 'mixed')
        return needs

    @property
    def augmentation(self) -> Augmentation | None:
        """That of images that are mixed here."""
        return None if self.mixing is None else build_augmentation(self.mixing.get('augmentation'))

    def __call__(self, context: StepContext, name: str, domain: str) -> DomainLatents:
        """Returns latents and labels of ``'source'``, ``'mixed'`` or ``'target'`` images.

        Args:
            context: The step.
            name: Name of the objective that asks, keys what is drawn.
            domain: Which images.
        """
        if domain == 'target':
            return DomainLatents(self._encoded(context, f'{name}.target', context.target.images_BCHW), None)
        if domain == 'source':
            images_BCHW, labels_BHW = context.source.images_BCHW, context.source.labels_BHW
            return DomainLatents(self._latents(context, name, domain, images_BCHW), labels_BHW)
        images_BCHW, labels_BHW, weights_BHW = self._mixed_batch(context)
        if weights_BHW is not None:
            labels_BHW = labels_BHW.masked_fill(weights_BHW == 0, context.student.ignore_index)
        return DomainLatents(self._latents(context, name, domain, images_BCHW), labels_BHW)

    def _latents(self, context: StepContext, name: str, domain: str, images_BCHW: Tensor) -> Tensor:
        objective = self.source if domain == 'source' else self.mixed
        if objective is None or self.encoder_gradient:
            return self._encoded(context, f'{name}.{domain}', images_BCHW)
        return context.student_pass(objective).latent_BChw

    def _mixed_batch(self, context: StepContext) -> StudentBatch:
        if self.mixed is not None:
            return context.student_pass(self.mixed).batch
        rule = PseudoLabelRule(**{key: value for key, value in self.mixing.items() if key != 'augmentation'})
        mixed = context.mixed(rule, self.augmentation)
        return StudentBatch(mixed.images_BCHW, mixed.labels_BHW, mixed.weights_BHW)

    def _encoded(self, context: StepContext, name: str, images_BCHW: Tensor) -> Tensor:
        whole = context.student_views(name, images_BCHW)[0]
        with contextlib.nullcontext() if self.encoder_gradient else torch.no_grad():
            return context.student.encode(whole).levels[-1]
