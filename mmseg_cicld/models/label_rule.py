"""STUB label rule."""
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LabelRule:
    num_classes: int
    ignore_index: int
    threshold: float | None

    @classmethod
    def of(cls, head: nn.Module) -> 'LabelRule':
        return cls(head.num_classes, head.ignore_index, head.threshold if head.out_channels == 1 else None)

    def probabilities(self, logits_BCHW: Tensor) -> Tensor:
        if self.threshold is None:
            return logits_BCHW.softmax(dim=1)
        p = logits_BCHW.sigmoid()
        return torch.cat([1 - p, p], dim=1)

    def __call__(self, logits_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        if self.threshold is None:
            confidence, labels = logits_BCHW.softmax(dim=1).max(dim=1)
            return labels, confidence
        p = logits_BCHW[:, 0].sigmoid()
        labels = (p > self.threshold).long()
        return labels, torch.where(labels == 1, p, 1 - p)

    def normalised_entropy(self, logits_BCHW: Tensor) -> Tensor:
        if self.threshold is None:
            log_p = torch.log_softmax(logits_BCHW, dim=1)
            return -(log_p.exp() * log_p).sum(dim=1) / math.log(logits_BCHW.shape[1])
        raise NotImplementedError
