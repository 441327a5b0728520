"""Balanced learning (BLDA, Li et al., ICML 2025): logits are corrected for how easily each class is predicted.

Shape suffixes: B images, C classes, H and W height and width, P pixels.
"""
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...models.losses.logit_balance import LogitBalance
from ...models.precision import full_precision
from ...models.segmentor_protocol import TrainableSegmentor
from ..step_context import StepContext, StudentBatch
from .objective import NeededPass, Objective

SOURCE, TARGET = 0, 1


@MODELS.register_module()
class BalancedLogits(Objective):
    """Corrects the logits in the losses of source and mixed images; it has no loss of its own and no parameters.

    Logits z become ``z - strength * shift``, where the shift is how far z would move if the distribution of logits of its
    pair of classes were the anchor that all pairs share. Distributions are fitted on source pixels and on target pixels of
    the mixed images, in the step that uses them; anchors on source pixels. They are buffers, equal in all processes.

    Args:
        source: Name of the objective before that trains on source images.
        mixed: Name of the objective before that trains on mixed images.
        strength: Factor of the shift, above 0 (tau in the paper).
        min_pixels: Least number of pixels of a class, in the batch of all processes, for its distributions to move.
        tail: Cumulative densities are kept in [tail, 1 - tail].
        components: Gaussians of each distribution.
        rounds: Rounds of EM in a step.
        momentum: Of the moving average of distributions, in [0, 1), reached after the warm-up.
        warmup: Steps of the warm-up.
        samples: At most about so many pixels of an image enter the distributions, on a regular grid.
        name: Prefix of its random streams.

    Raises:
        ValueError: If a value is out of its range.
    """

    needs_target = True
    needs_teacher = True

    def __init__(self, source: str = 'source', mixed: str = 'mix', strength: float = 0.1, min_pixels: int = 500,
                 tail: float = 0.01, components: int = 5, rounds: int = 3, momentum: float = 0.99, warmup: int = 1500,
                 samples: int = 65536, name: str = 'balanced') -> None:
        super().__init__(name)
        if strength <= 0 or not 0 < tail < 0.5 or not 0 <= momentum < 1:
            raise ValueError(f'BalancedLogits got strength={strength}, tail={tail}, momentum={momentum}: strength is above '
                             '0, tail lies between 0 and 0.5, momentum in [0, 1)')
        if min(min_pixels, components, rounds, warmup, samples) < 1:
            raise ValueError(f'BalancedLogits got min_pixels={min_pixels}, components={components}, rounds={rounds}, '
                             f'warmup={warmup}, samples={samples}: all are at least 1')
        self.source, self.mixed, self.strength, self.samples = source, mixed, strength, samples
        self._balance = dict(min_pixels=min_pixels, tail=tail, mixtures=dict(
            components=components, rounds=rounds, momentum=momentum, warmup=warmup))
        self.balance: LogitBalance | None = None

    @property
    def corrects(self) -> Mapping[str, NeededPass]:
        """The training forwards on source and on mixed images."""
        return dict(source=NeededPass(self.source, 'source'), mixed=NeededPass(self.mixed, 'mixed'))

    @property
    def passes(self) -> Sequence[Callable[[StepContext], dict[str, Tensor]]]:
        """None: all it does is in the losses of others."""
        return ()

    def attach(self, student: TrainableSegmentor) -> None:
        """Makes the distributions.

        Raises:
            ValueError: If the head has one channel for two classes.
        """
        if student.label_rule.threshold is not None:
            raise ValueError(f'{self.name} compares the logits of classes, but the head has one channel: remove '
                             'out_channels and threshold from model.segmentor.decode_head')
        self.balance = LogitBalance(student.num_classes, sets=2, **self._balance)

    @torch.no_grad()
    def correct(self, images: str, context: StepContext, batch: StudentBatch, logits_BCHW: Tensor) -> Tensor:
        """Moves the distributions of one domain, then corrects the logits; see :class:`Objective`."""
        with torch.autocast(logits_BCHW.device.type, enabled=False):
            scores_BCHW = full_precision(logits_BCHW.detach())
            labels_BHW = batch.labels_BHW.masked_fill(batch.labels_BHW == context.student.ignore_index, -1)
            if images == 'source':
                sets_BHW, moving_BHW = torch.full_like(labels_BHW, SOURCE), labels_BHW
            else:
                of_target_BHW = ~context.mix_mask()
                sets_BHW = torch.where(of_target_BHW, TARGET, SOURCE)
                # Pixels of weight 0 have no pseudo-label that anyone trusts.
                moving_BHW = labels_BHW.where(of_target_BHW & (batch.weights_BHW > 0), -1)
            self._observe(context, images, scores_BCHW, moving_BHW)
            shift_BCHW = self.balance.shift(sets_BHW, scores_BCHW, labels_BHW)
        with torch.enable_grad():
            return logits_BCHW - self.strength * shift_BCHW.to(logits_BCHW.dtype)

    def _observe(self, context: StepContext, images: str, logits_BCHW: Tensor, labels_BHW: Tensor) -> None:
        """Fits the distributions on a grid of each image that lies at a place of its own."""
        side = max(1, round(math.sqrt(labels_BHW[0].numel() / self.samples)))
        logits, labels = [], []
        for sample, index in enumerate(context.sample_indices(len(labels_BHW))):
            y, x = (int(draw * side) for draw in context.uniform(f'{self.name}.{images}.grid', index, size=2))
            logits.append(logits_BCHW[sample, :, y::side, x::side].flatten(1).T)
            labels.append(labels_BHW[sample, y::side, x::side].flatten())
        number = SOURCE if images == 'source' else TARGET
        self.balance.observe(number, torch.cat(logits), torch.cat(labels), side**2, anchors=number == SOURCE)
