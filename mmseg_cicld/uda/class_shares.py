"""How much of the target each class takes in the pseudo-labels, then and now: what shows that an adaptation collapses.

Shape suffixes: B images, K classes, H and W height and width.
"""
from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

START_BATCHES = 20  # the first ones say what the segmentor saw before it was changed much
MOMENTUM = 0.98  # of the shares now: about the last fifty batches
VISIBLE = 0.002  # share of the pixels from which on a class counts as seen at the start
VANISHED = 0.1  # of its share at the start


class ClassShares(nn.Module):
    """Share of each class among the pseudo-labels of all processes: at the start, and as a moving average.

    All is in buffers, so that a resumed training remembers the start.

    Args:
        num_classes: K.
    """

    start_K: Tensor
    shares_K: Tensor
    batches: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer('start_K', torch.zeros(num_classes))
        self.register_buffer('shares_K', torch.zeros(num_classes))
        self.register_buffer('batches', torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, labels_BHW: Tensor, real_BHW: Tensor | None = None) -> None:
        """Counts a batch.

        Args:
            labels_BHW: Pseudo-labels, int64 in [0, K).
            real_BHW: False for pixels that padding added; None: there are none.
        """
        ones = torch.ones_like(labels_BHW, dtype=self.shares_K.dtype)
        counted = (ones if real_BHW is None else ones * real_BHW).flatten()
        counts_K = torch.zeros_like(self.shares_K).scatter_add_(0, labels_BHW.flatten(), counted)
        all_reduce(counts_K)
        now_K = counts_K / counts_K.sum().clamp(min=1)
        # The mean over the first batches, then a moving average; all on the device, no number is read.
        factor = (1 / (self.batches + 1)).clamp(min=1 - MOMENTUM).to(now_K.dtype)
        self.shares_K.lerp_(now_K, factor)
        self.batches.add_(1)
        self.start_K.copy_(torch.where(self.batches <= START_BATCHES, self.shares_K, self.start_K))

    def vanished(self) -> tuple[list[int], list[int]]:
        """Returns the classes seen at the start, and those of them that are all but gone now. Reads the device."""
        if int(self.batches) <= START_BATCHES:
            return [], []
        start, now = self.start_K.tolist(), self.shares_K.tolist()
        seen = [number for number, share in enumerate(start) if share >= VISIBLE]
        return seen, [number for number in seen if now[number] < VANISHED * start[number]]


def class_names(numbers: Sequence[int], names: Sequence[str]) -> str:
    """Returns the names of classes for a message, their numbers where there are no names."""
    return ', '.join(names[number] if number < len(names) else str(number) for number in numbers)
