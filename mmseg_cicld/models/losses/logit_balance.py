"""How far logits lie from where they would be if every class were predicted alike (BLDA, Li et al., ICML 2025).

It knows sets of pixels by their number alone. Shape suffixes: B images, C classes, H and W height and width, P pixels,
S sets, T points of a table.
"""
import torch
from torch import Tensor, nn

from .gaussian_mixtures import GaussianMixtures, Values

POINTS = 1000
TOGETHER = 8192  # pixels that are fitted at once, which bounds the memory


class LogitBalance(nn.Module):
    """Distributions of logits by pair of classes, anchors that all pairs share, and the shift from one to the other.

    The pair (l, c) is of the logits of class c at pixels of class l, in each set of pixels a mixture of Gaussians. The
    anchors are two more: of all logits of a pixel's own class and of all others, in the set that they are fitted on.

    Args:
        classes: Number of classes C.
        sets: Number of sets of pixels, with distributions of their own and common anchors.
        min_pixels: Least number of pixels of a class, over all processes, for its distributions to move.
        tail: Cumulative densities are kept in [tail, 1 - tail].
        mixtures: Further arguments of :class:`GaussianMixtures`.
    """

    def __init__(self, classes: int, sets: int = 2, min_pixels: int = 500, tail: float = 0.01,
                 mixtures: dict | None = None) -> None:
        super().__init__()
        self.classes, self.min_pixels, self.tail = classes, min_pixels, tail
        self.pairs = nn.ModuleList(GaussianMixtures((classes, classes), **(mixtures or {})) for _ in range(sets))
        self.anchors = GaussianMixtures((2, ), **(mixtures or {}))

    @torch.no_grad()
    def observe(self, number: int, logits_PC: Tensor, labels_P: Tensor, pixels_each: int = 1,
                anchors: bool = False) -> None:
        """Moves the distributions of a set.

        Args:
            number: Of the set.
            logits_PC: Logits of some pixels.
            labels_P: int64; those that are no class are left out.
            pixels_each: Pixels that each of these stands for.
            anchors: Whether the anchors move too.
        """
        parts = [self._parts(logits, labels) for logits, labels in
                 zip(logits_PC.split(TOGETHER), labels_P.split(TOGETHER), strict=True)]
        self.pairs[number].fit([pairs for pairs, _ in parts], self.min_pixels / pixels_each)
        if anchors:
            self.anchors.fit([anchor for _, anchor in parts], self.min_pixels / pixels_each)

    def _parts(self, logits_PC: Tensor, labels_P: Tensor) -> tuple[Values, Values]:
        """Returns logits for the pairs and for the anchors."""
        known_P = (labels_P >= 0) & (labels_P < self.classes)
        classes_P, logits_PC = labels_P.where(known_P, 0), logits_PC.double()
        own_PC = torch.zeros_like(logits_PC).scatter_(1, classes_P[:, None], known_P[:, None].to(logits_PC.dtype))
        others_PC = known_P[:, None].to(own_PC.dtype) - own_PC
        both_2N = torch.stack([own_PC.flatten(), others_PC.flatten()])
        pairs = Values(logits_PC, lambda of_pairs: of_pairs[classes_P],
                       lambda values_PCK: (own_PC.T @ values_PCK.flatten(1)).unflatten(1, (self.classes, -1)))
        return pairs, Values(logits_PC, lambda of_anchors: of_anchors[(own_PC == 0).long()],
                             lambda values_PCK: both_2N @ values_PCK.flatten(0, 1))

    @torch.no_grad()
    def shift(self, sets_BHW: Tensor, logits_BCHW: Tensor, labels_BHW: Tensor) -> Tensor:
        """Returns ``F_anchor^-1(F_lc(z)) - z`` of each logit z [B, C, H, W] (section 3.3 of the paper).

        It is 0 at pixels without a class and where the distribution was never fitted.

        Args:
            sets_BHW: Number of the set that each pixel is of.
            logits_BCHW: float32 or float64.
            labels_BHW: int64.
        """
        *tables, fitted_SCC = self._tables()
        low_SCC, step_SCC, table_SCCT = (table.to(logits_BCHW.dtype) for table in tables)
        known_BHW = (labels_BHW >= 0) & (labels_BHW < self.classes)
        rows_BHW = sets_BHW * self.classes + labels_BHW.where(known_BHW, 0)
        shifts = []
        for rows_HW, logits_CHW, known_HW in zip(rows_BHW, logits_BCHW, known_BHW, strict=True):
            # A row of the tables for each pixel, of which the classes are the columns.
            low_CHW, step_CHW = (part.flatten(0, 1)[rows_HW].permute(2, 0, 1) for part in (low_SCC, step_SCC))
            places_CHW = ((logits_CHW - low_CHW) / step_CHW).clamp(0, POINTS - 1)
            left_CHW = places_CHW.long().clamp(max=POINTS - 2)
            columns_C11 = torch.arange(self.classes, device=rows_HW.device)[:, None, None]
            index_CHW = (rows_HW * self.classes + columns_C11) * POINTS + left_CHW
            table = table_SCCT.flatten()
            aligned_CHW = torch.lerp(table[index_CHW], table[index_CHW + 1], places_CHW - left_CHW)
            counts_CHW = fitted_SCC.flatten(0, 1)[rows_HW].permute(2, 0, 1) & known_HW
            shifts.append((aligned_CHW - logits_CHW).where(counts_CHW, 0))
        return torch.stack(shifts)

    def _tables(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns, for each set and pair, where its table begins, the step of it, the aligned logits, and whether it counts."""
        grids = torch.stack([mixture.grid(POINTS) for mixture in self.pairs])
        densities = torch.stack([mixture.cdf(grid) for mixture, grid in zip(self.pairs, grids, strict=True)])
        densities = densities.clamp(self.tail, 1 - self.tail)
        own_CC = torch.eye(self.classes, dtype=torch.bool, device=densities.device)
        of_own, of_others = (self._anchor_quantiles(densities, anchor) for anchor in (0, 1))
        table_SCCT = torch.where(own_CC[..., None], of_own, of_others)
        seen_SCC = torch.stack([mixture.seen for mixture in self.pairs])
        fitted_SCC = seen_SCC & torch.where(own_CC, self.anchors.seen[0], self.anchors.seen[1])
        return grids[..., 0], grids[..., 1] - grids[..., 0], table_SCCT, fitted_SCC

    def _anchor_quantiles(self, densities: Tensor, anchor: int) -> Tensor:
        values_T = self.anchors.grid(POINTS)[anchor]
        densities_T = self.anchors.cdf(self.anchors.grid(POINTS))[anchor].contiguous()
        right = torch.searchsorted(densities_T, densities.contiguous()).clamp(1, POINTS - 1)
        gap = (densities_T[right] - densities_T[right - 1]).clamp(min=torch.finfo(values_T.dtype).tiny)
        part = ((densities - densities_T[right - 1]) / gap).clamp(0, 1)
        return torch.lerp(values_T[right - 1], values_T[right], part)
