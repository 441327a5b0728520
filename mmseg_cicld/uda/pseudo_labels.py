"""Pseudo-labels of the teacher and the weight that says how far to trust them.

Shape suffixes: B images, C classes, H and W height and width.
"""
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from mmengine.dist import all_reduce
from torch import Tensor


class PseudoLabels(NamedTuple):
    """Labels int64 [B, H, W], weights float [B, H, W] in [0, 1], confident share float [] in [0, 1]."""

    labels_BHW: Tensor
    weights_BHW: Tensor
    confident_share: Tensor


class LabelWeighting(Protocol):
    """Makes pseudo-labels of what a teacher predicts. Equal ones are equal and have equal hashes, so a step asks once."""

    def __call__(self, labels_BHW: Tensor, confidence_BHW: Tensor, valid_B1HW: Tensor | None = None,
                 real_BHW: Tensor | None = None) -> PseudoLabels:
        """See :meth:`PseudoLabelRule.__call__`."""


@dataclass(frozen=True)
class PseudoLabelRule:
    """How far the labels that a teacher predicts are trusted.

    One number weighs them all: the share of pixels, over the batch of all processes, whose confidence reaches the
    threshold (DACS; one number for each batch, not image, as in the published implementation). It is computed before
    margins are taken out.

    Args:
        threshold: Confidence in [0, 1]; None weighs all pixels 1.
        ignore_top: Rows at the top of the crop that get weight 0.
        ignore_bottom: Rows at the bottom of the crop that get weight 0 (the bonnet of the recording car).

    Raises:
        ValueError: If a value is out of its range.
    """

    threshold: float | None = 0.968
    ignore_top: int = 0
    ignore_bottom: int = 0

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f'threshold of the pseudo-labels is {self.threshold}, allowed are values in [0, 1] and None')
        if self.ignore_top < 0 or self.ignore_bottom < 0:
            raise ValueError(f'ignore_top={self.ignore_top}, ignore_bottom={self.ignore_bottom}: rows to ignore '
                             'cannot be negative')

    @torch.no_grad()
    def __call__(self, labels_BHW: Tensor, confidence_BHW: Tensor, valid_B1HW: Tensor | None = None,
                 real_BHW: Tensor | None = None) -> PseudoLabels:
        """Makes pseudo-labels.

        Args:
            labels_BHW: Labels that the teacher predicts, int64, at input resolution.
            confidence_BHW: Probability of each, in [0, 1].
            valid_B1HW: Mask of usable target pixels (1 = usable), takes the place of the margins.
            real_BHW: False for pixels that padding added: they weigh 0 and do not count. None: there are none.

        Raises:
            ValueError: If both margins and a mask are given, or the margins leave no row.
        """
        self._check(labels_BHW.shape[1], valid_B1HW)
        share = self._confident_share(confidence_BHW, real_BHW)
        weights_BHW = share.expand(labels_BHW.shape).clone()
        weights_BHW[:, :self.ignore_top] = 0
        weights_BHW[:, labels_BHW.shape[1] - self.ignore_bottom:] = 0
        if valid_B1HW is not None:
            weights_BHW = weights_BHW * valid_B1HW[:, 0].to(weights_BHW.dtype)
        if real_BHW is not None:
            weights_BHW = weights_BHW * real_BHW
        return PseudoLabels(labels_BHW, weights_BHW, share)

    def _confident_share(self, confidence_BHW: Tensor, real_BHW: Tensor | None) -> Tensor:
        if self.threshold is None:
            return confidence_BHW.new_ones(())
        counted_BHW = torch.ones_like(confidence_BHW, dtype=torch.bool) if real_BHW is None else real_BHW
        counts = torch.stack([((confidence_BHW >= self.threshold) & counted_BHW).sum(), counted_BHW.sum()])
        all_reduce(counts)
        confident, total = counts.to(confidence_BHW.dtype)
        return confident / total.clamp(min=1)

    def _check(self, height: int, valid_B1HW: Tensor | None) -> None:
        margins = self.ignore_top + self.ignore_bottom
        if margins and valid_B1HW is not None:
            raise ValueError('pseudo-label margins are given twice: remove ignore_top / ignore_bottom from the '
                             'objective or the margins from the target pipeline')
        if margins >= height:
            raise ValueError(f'ignore_top={self.ignore_top} and ignore_bottom={self.ignore_bottom} leave nothing of a '
                             f'crop of {height} rows: lower them or raise the crop size')
