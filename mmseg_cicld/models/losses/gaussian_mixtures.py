"""Mixtures of one-dimensional Gaussians that are fitted online, many at once and by all processes together.

Shape suffixes: P pixels, C values of a pixel, K components; the groups are any leading dimensions, written G.
"""
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

SMALLEST_VARIANCE = 1e-4
SMALLEST_SHARE = 1e-12

Mixture = tuple[Tensor, Tensor, Tensor]
"""Weights, means and variances, each [G, K]."""


class Values(NamedTuple):
    """A part of the values that mixtures are fitted to, and which group each is of.

    Args:
        values_PC: The values, float64.
        spread: Gives each value the parameters [G, K] of its group: [P, C, K].
        collect: Sums what values have [P, C, K] over each group: [G, K]. Values of no group are left out.
    """

    values_PC: Tensor
    spread: Callable[[Tensor], Tensor]
    collect: Callable[[Tensor], Tensor]


class GaussianMixtures(nn.Module):
    """A mixture for each group: some rounds of EM on the values of a step, then a moving average (BLDA, section 3.4).

    Momentum rises from 0 to its value over the warm-up. For a group that was not fitted for n steps it is taken to the
    power of n. A group's first fit begins at mean and deviation of its values. All state is in buffers, and sums are those
    of all processes, which so hold the same mixtures. In float64: rounds of EM multiply what rounding takes.

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
        shape = (*groups, components)
        self.register_buffer('weights', torch.full(shape, 1 / components, dtype=torch.float64))
        self.register_buffer('means', torch.zeros(shape, dtype=torch.float64))
        self.register_buffer('variances', torch.ones(shape, dtype=torch.float64))
        self.register_buffer('seen', torch.zeros(*groups, dtype=torch.bool))
        self.register_buffer('steps_since', torch.ones(*groups, dtype=torch.int64))
        self.register_buffer('steps', torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def fit(self, parts: Sequence[Values], min_count: float) -> None:
        """Moves the mixtures towards those of new values.

        Args:
            parts: The values; in several parts they take less memory.
            min_count: Groups with fewer values, over all processes, stay as they are.
        """
        count_G1, fitted = self._start(parts)
        for _ in range(self.rounds):
            fitted = _em_round(parts, fitted, count_G1)
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

    def _start(self, parts: Sequence[Values]) -> tuple[Tensor, Mixture]:
        """Counts the values of each group, and gives mixtures to begin with."""
        count_G1, sum_G1 = _summed(parts, lambda part: (torch.ones_like(part.values_PC)[..., None],
                                                        part.values_PC[..., None]))
        mean_G1 = sum_G1 / count_G1.clamp(min=1)
        squares_G1, = _summed(parts, lambda part: ((part.values_PC[..., None] - part.spread(mean_G1))**2, ))
        variance_G1 = (squares_G1 / count_G1.clamp(min=1)).clamp(min=SMALLEST_VARIANCE)
        components = self.means.shape[-1]
        places_K = (torch.arange(components, device=mean_G1.device, dtype=mean_G1.dtype) + 0.5) / components
        first = (torch.full_like(self.weights, 1 / components),
                 mean_G1 + variance_G1.sqrt() * torch.special.ndtri(places_K), variance_G1.expand_as(self.variances))
        weights, means, variances = (torch.where(self.seen[..., None], now, new) for now, new in
                                     zip((self.weights, self.means, self.variances), first, strict=True))
        return count_G1, (weights, means, variances)

    def _average(self, fitted: Mixture, enough_G: Tensor) -> None:
        momentum = self.momentum * (self.steps.to(self.means.dtype) / self.warmup).clamp(max=1)
        share_G1 = torch.where(self.seen, momentum**self.steps_since, 0)[..., None]
        for buffer, new in zip((self.weights, self.means, self.variances), fitted, strict=True):
            buffer.copy_(torch.where(enough_G[..., None], share_G1 * buffer + (1 - share_G1) * new, buffer))
        # A step in which no group has enough values is none.
        one = enough_G.any().long()
        self.steps.add_(one)
        self.steps_since.copy_(torch.where(enough_G, 1, self.steps_since + one))
        self.seen.logical_or_(enough_G)


def _em_round(parts: Sequence[Values], mixture: Mixture, count_G1: Tensor) -> Mixture:
    weights_GK, means_GK, variances_GK = mixture
    scores_GK = weights_GK.clamp(min=SMALLEST_SHARE).log() - variances_GK.log() / 2

    def moments(part: Values) -> tuple[Tensor, ...]:
        # Offsets from the last means, not values: so that the variance is no small difference of large numbers.
        offsets_PCK = part.values_PC[..., None] - part.spread(means_GK)
        squares_PCK = offsets_PCK**2
        shares_PCK = (part.spread(scores_GK) - squares_PCK * part.spread(0.5 / variances_GK)).softmax(dim=-1)
        return shares_PCK, shares_PCK * offsets_PCK, shares_PCK * squares_PCK

    total_GK, first_GK, second_GK = _summed(parts, moments)
    total_GK = total_GK.clamp(min=SMALLEST_SHARE)
    moved_GK = first_GK / total_GK
    variances_GK = (second_GK / total_GK - moved_GK**2).clamp(min=SMALLEST_VARIANCE)
    return total_GK / count_G1.clamp(min=1), means_GK + moved_GK, variances_GK


def _summed(parts: Sequence[Values], quantities: Callable[[Values], tuple[Tensor, ...]]) -> Tensor:
    """Sums quantities [P, C, K] of all values of all processes over each group, one after the other in the result."""
    total = sum(torch.stack([part.collect(quantity) for quantity in quantities(part)]) for part in parts)
    all_reduce(total)
    return total
