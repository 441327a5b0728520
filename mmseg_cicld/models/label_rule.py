"""How logits of a head become probabilities, labels and confidence: softmax over classes, or sigmoid and a threshold.

Shape suffixes: B images, C channels of the logits, K classes, H and W height and width.
"""
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class LabelRule:
    """What a head's logits mean. It gives the labels that mmseg's own predictions have.

    ``reduce_zero_label`` has no part in it: mmseg 1.x reduces labels where they are loaded, so logits, pseudo-labels
    and the labels of a batch count from the first real class, and what was 0 is 255 in every label map.

    Args:
        num_classes: Number of classes K.
        ignore_index: Label of pixels that do not count.
        threshold: Of the probability in [0, 1] above which a binary head with one channel says class 1; None for a
            head with a channel for each class.
    """

    num_classes: int
    ignore_index: int = 255
    threshold: float | None = None

    @classmethod
    def of_head(cls, head: nn.Module) -> 'LabelRule':
        """Reads the rule from a decode head of mmseg."""
        return cls(head.num_classes, head.ignore_index, head.threshold if head.out_channels == 1 else None)

    def log_probabilities(self, logits_BCHW: Tensor) -> Tensor:
        """Returns the log of each class's probability, [B, K, H, W]."""
        if self.threshold is None:
            return torch.log_softmax(logits_BCHW, dim=1)
        return torch.cat([F.logsigmoid(-logits_BCHW), F.logsigmoid(logits_BCHW)], dim=1)

    def probabilities(self, logits_BCHW: Tensor) -> Tensor:
        """Returns each class's probability, [B, K, H, W]; a channel of one sigmoid becomes the two of both classes."""
        if self.threshold is None:
            return logits_BCHW.softmax(dim=1)
        return torch.cat([torch.sigmoid(-logits_BCHW), torch.sigmoid(logits_BCHW)], dim=1)

    def labels(self, logits_BCHW: Tensor) -> Tensor:
        """Returns the label of each pixel alone, int64 [B, H, W] in [0, K), as mmseg reads it from logits."""
        if self.threshold is None:
            return logits_BCHW.argmax(dim=1)
        return (logits_BCHW.sigmoid() > self.threshold)[:, 0].long()

    def labels_and_confidence(self, logits_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the label of each pixel and the probability of that label.

        With a threshold t the label is 1 where p > t, and the confidence is p there and 1 - p elsewhere. So labels are
        what the evaluation counts, while a confidence means what it means with softmax: how likely the head itself
        holds its label to be right. With t = 0.3 a pixel of p = 0.35 has label 1 with a confidence of 0.35.

        Returns:
            int64 [B, H, W] in [0, K), and float [B, H, W] in [0, 1].
        """
        return self.read(self.probabilities(logits_BCHW))

    def read(self, probabilities_BKHW: Tensor) -> tuple[Tensor, Tensor]:
        """The same from probabilities as :meth:`probabilities` gives them, or a mean of such."""
        if self.threshold is None:
            confidence_BHW, labels_BHW = probabilities_BKHW.max(dim=1)
            return labels_BHW, confidence_BHW
        labels_B1HW = (probabilities_BKHW[:, 1:] > self.threshold).long()
        return labels_B1HW[:, 0], probabilities_BKHW.gather(1, labels_B1HW)[:, 0]

    def normalised_entropy(self, logits_BCHW: Tensor) -> Tensor:
        """Returns the entropy of each pixel divided by the log of the number of classes, [B, H, W] in [0, 1]."""
        log_probabilities = self.log_probabilities(logits_BCHW)
        return -(log_probabilities.exp() * log_probabilities).sum(dim=1) / math.log(self.num_classes)
