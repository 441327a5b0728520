"""Mixtures of one-dimensional Gaussians that are fitted online, many at once and by all processes together.

Shape suffixes: P pixels, C values of a pixel, K components; the groups are any leading dimensions, written G.
"""
from collections.abc import Callable, Sequence

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

SMALLEST_VARIANCE = 1e-4
SMALLEST_SHARE = 1e-12

Spread = Callable[[Tensor], Tensor]
"""Gives each value [P, C] the parameters [G, K] of its group: [P, C, K]."""
Collect = Callable[[Tensor], Tensor]
"""Sums what values have [P, C, K] over each group: [G, K]. Values that are of no group are left out."""


class GaussianMixtures(nn.Module):
    """A mixture for each group: some rounds of EM on the values of a step, then a moving average (BLDA, section 3.4).

    Momentum rises from 0 to its value over the warm-up. For a group that was not fitted for n steps it is taken to the
    power of n. A group's first fit begins at mean and deviation of its values. All state is in buffers, and sums are those
    of all processes, which so hold the same mixtures.

    Args:
        groups: Shape of the groups.
        components: Gaussians of each mixture.
        rounds: Rounds of EM in a step.
        momentum: Of the moving average, in [0, 1).
        warmup: Steps until momentum has its value.
    """

    def __init__(self, groups: Sequence[int], components: int = 5, rounds: int = 3, momentum: float = 0.99,
                 warmup: int = 1500) -> None:
        super().__init__()
        self.rounds, self.momentum, self.warmup = rounds, momentum, warmup
        self.register_buffer('weights', torch.full((*groups, components), 1 / components))
        self.register_buffer('means', torch.zeros(*groups, components))
        self.register_buffer('variances', torch.ones(*groups, components))
        self.register_buffer('seen', torch.zeros(*groups, dtype=torch.bool))
        self.register_buffer('steps_since', torch.ones(*groups, dtype=torch.int64))
        self.register_buffer('steps', torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def fit(self, values_PC: Tensor, spread: Spread, collect: Collect, min_count: float) -> None:
        """Moves the mixtures towards those of new values.

        Args:
            values_PC: The values, float32 or float64.
            spread: See :data:`Spread`.
            collect: See :data:`Collect`.
            min_count: Groups with fewer values, over all processes, stay as they are.
        """
        count_G1, fitted = self._start(values_PC, spread, collect)
        for _ in range(self.rounds):
            fitted = _em_round(values_PC, fitted, spread, collect, count_G1)
        self._average(fitted, (count_G1 >= min_count)[..., 0])

    def cdf(self, values: Tensor) -> Tensor:
        """Returns the cumulative density of values [G, T] under the mixture of their group."""
        scores = (values[..., None] - self.means[..., None, :]) / self.variances[..., None, :].sqrt()
        return (self.weights[..., None, :] * torch.special.ndtr(scores)).sum(-1)

    def grid(self, points: int) -> Tensor:
        """Returns values [G, T] at equal distances over three deviations around the components of each mixture."""
        deviations = self.variances.sqrt()
        low = (self.means - 3 * deviations).amin(-1, keepdim=True)
        high = (self.means + 3 * deviations).amax(-1, keepdim=True)
        return low + (high - low) * torch.linspace(0, 1, points, device=low.device, dtype=low.dtype)

    def _start(self, values_PC: Tensor, spread: Spread, collect: Collect) -> tuple[Tensor, tuple[Tensor, ...]]:
        sums = torch.stack([collect(part[..., None]) for part in (torch.ones_like(values_PC), values_PC)])
        all_reduce(sums)
        count_G1, mean_G1 = sums[0], sums[1] / sums[0].clamp(min=1)
        squares_G1 = collect((values_PC[..., None] - spread(mean_G1))**2)
        all_reduce(squares_G1)
        variance_G1 = (squares_G1 / count_G1.clamp(min=1)).clamp(min=SMALLEST_VARIANCE)
        components = self.means.shape[-1]
        places_K = (torch.arange(components, device=mean_G1.device, dtype=mean_G1.dtype) + 0.5) / components
        first = (torch.full_like(self.weights, 1 / components),
                 mean_G1 + variance_G1.sqrt() * torch.special.ndtri(places_K), variance_G1.expand_as(self.variances))
        seen_G1 = self.seen[..., None]
        return count_G1, tuple(torch.where(seen_G1, now, new)
                               for now, new in zip((self.weights, self.means, self.variances), first, strict=True))

    def _average(self, fitted: tuple[Tensor, ...], enough_G: Tensor) -> None:
        momentum = self.momentum * (self.steps.to(self.means.dtype) / self.warmup).clamp(max=1)
        share_G1 = (momentum**self.steps_since)[..., None]
        share_G1 = torch.where(self.seen[..., None], share_G1, 0)
        for buffer, new in zip((self.weights, self.means, self.variances), fitted, strict=True):
            buffer.copy_(torch.where(enough_G[..., None], share_G1 * buffer + (1 - share_G1) * new, buffer))
        # A step in which no group has enough values is none.
        one = enough_G.any().long()
        self.steps.add_(one)
        self.steps_since.copy_(torch.where(enough_G, 1, self.steps_since + one))
        self.seen.logical_or_(enough_G)


def _em_round(values_PC: Tensor, mixture: tuple[Tensor, ...], spread: Spread, collect: Collect,
              count_G1: Tensor) -> tuple[Tensor, ...]:
    weights_GK, means_GK, variances_GK = mixture
    offsets_PCK, variances_PCK = values_PC[..., None] - spread(means_GK), spread(variances_GK)
    scores_PCK = spread(weights_GK.clamp(min=SMALLEST_SHARE).log() - variances_GK.log() / 2)
    shares_PCK = (scores_PCK - offsets_PCK**2 / (2 * variances_PCK)).softmax(dim=-1)
    # Offsets from the last means, not values: so that the variance is no small difference of large numbers.
    sums = torch.stack([collect(shares_PCK), collect(shares_PCK * offsets_PCK), collect(shares_PCK * offsets_PCK**2)])
    all_reduce(sums)
    total_GK, first_GK, second_GK = sums
    total_GK = total_GK.clamp(min=SMALLEST_SHARE)
    moved_GK = first_GK / total_GK
    variances_GK = (second_GK / total_GK - moved_GK**2).clamp(min=SMALLEST_VARIANCE)
    return total_GK / count_G1.clamp(min=1), means_GK + moved_GK, variances_GK
