"""Maximum mean discrepancy with Gaussian kernels of several widths (Long et al., ICML 2015, and CICLD, Table 2).

Shape suffixes: N and M samples, C channels.
"""
from collections.abc import Sequence

import torch
from mmengine.dist import all_gather, get_rank, get_world_size
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..precision import full_precision


@MODELS.register_module()
class MaximumMeanDiscrepancy(nn.Module):
    """Squared maximum mean discrepancy of two sets of vectors: mean k(x, x') + mean k(y, y') - 2 mean k(x, y).

    The kernel k is the mean over ``bandwidths`` b of exp(-d^2 / (b s)), where d^2 is the squared distance of two
    vectors and s the mean of d^2 over all pairs of different vectors. s receives no gradient. The vectors of all
    processes form one set, so that two processes give the gradients of one with the joined batch.

    Args:
        bandwidths: Factors of the kernel's width, all > 0.
        unbiased: True leaves each vector's kernel with itself out, so that the expected value is that of the two
            distributions and may be negative. False keeps it: never negative, too large by O(1 / N + 1 / M).

    Raises:
        ValueError: If a bandwidth is not positive or there is none.
    """

    def __init__(self, bandwidths: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0), unbiased: bool = True) -> None:
        super().__init__()
        if not bandwidths or min(bandwidths) <= 0:
            raise ValueError(f'MaximumMeanDiscrepancy got bandwidths={tuple(bandwidths)}: give at least one, all > 0')
        self.bandwidths, self.unbiased = tuple(bandwidths), unbiased

    def forward(self, one_NC: Tensor, other_MC: Tensor) -> Tensor:
        """Computes the discrepancy; gradients reach both sets.

        Args:
            one_NC: Float vectors of one set, as many in each process.
            other_MC: Those of the other.

        Raises:
            ValueError: If a set has fewer than two vectors.
        """
        if min(len(one_NC), len(other_MC)) < 2:
            raise ValueError(f'MaximumMeanDiscrepancy got {len(one_NC)} and {len(other_MC)} vectors, each set needs at '
                             'least 2: raise the crop size')
        # Differences of squares are lost in half precision.
        with torch.autocast(one_NC.device.type, enabled=False):
            return self._discrepancy(joined(full_precision(one_NC)), joined(full_precision(other_MC)))

    def _discrepancy(self, one_NC: Tensor, other_MC: Tensor) -> Tensor:
        squared_LL, count = squared_distances(torch.cat([one_NC, other_MC])), len(one_NC) + len(other_MC)
        scale = squared_LL.detach().sum() / (count * (count - 1))
        scale = scale.clamp(min=torch.finfo(scale.dtype).tiny)
        kernel_LL = sum(torch.exp(-squared_LL / (factor * scale)) for factor in self.bandwidths) / len(self.bandwidths)
        n = len(one_NC)
        loss = self._within(kernel_LL[:n, :n]) + self._within(kernel_LL[n:, n:]) - 2 * kernel_LL[:n, n:].mean()
        return scaled_gradient(loss, get_world_size())

    def _within(self, kernel_NN: Tensor) -> Tensor:
        if not self.unbiased:
            return kernel_NN.mean()
        n = len(kernel_NN)
        return (kernel_NN.sum() - kernel_NN.diagonal().sum()) / (n * (n - 1))


def squared_distances(vectors_NC: Tensor) -> Tensor:
    """Returns the squared Euclidean distances [N, N] of all pairs, exactly zero on the diagonal."""
    squares_N = vectors_NC.square().sum(dim=1)
    squared_NN = squares_N[:, None] + squares_N[None] - 2 * vectors_NC @ vectors_NC.T
    diagonal = torch.eye(len(vectors_NC), dtype=torch.bool, device=vectors_NC.device)
    return squared_NN.clamp(min=0).masked_fill(diagonal, 0)


def joined(vectors_NC: Tensor) -> Tensor:
    """Returns the vectors of all processes in order of their ranks; gradients reach those of this process."""
    parts = all_gather(vectors_NC.detach().contiguous())
    parts[get_rank()] = vectors_NC
    return torch.cat(parts)


def scaled_gradient(loss: Tensor, factor: int) -> Tensor:
    """Returns the loss with its gradient times ``factor``.

    Each process computes a loss of all processes' vectors, of which its own have a gradient. DDP divides the sum of
    the processes' gradients by their number, which the factor takes back.
    """
    return loss.detach() + factor * (loss - loss.detach())
