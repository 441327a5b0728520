"""Masked representation modeling (MRM, Zhou et al., CVPR 2026): hidden features of the target, rebuilt and classified.

Shape suffixes: B images, C channels, H and W height and width, g and k height and width of the grid of cells.
"""
from collections.abc import Sequence

import numpy as np
import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...models.diffusion.shift_encoder import FeatureLevel, feature_levels
from ...models.rebuilder import FeatureRebuilder
from ...models.segmentor_protocol import TrainableSegmentor, View, ViewFeatures
from ..pseudo_labels import PseudoLabelRule
from ..step_context import StepContext, StudentBatch
from .degradation import running_statistics_kept
from .objective import Objective


@MODELS.register_module()
class MaskedRepresentationModeling(Objective):
    """The segmentor's own losses on target features of which a part was hidden and rebuilt by a light network.

    Encoder and heads learn with the rebuilder, which is not part of the segmentor. Target images are seen whole and clean;
    their pseudo-labels are the labels. Running statistics of the heads' batch norms see clean features alone.

    Args:
        ratio: Share of the cells that are hidden, in [0, 1]; each is by itself.
        cell: Side of a cell in pixels of what the encoder sees: 32 gives the published 16 x 16 cells in crops of 512.
        width: Channels of the rebuilder's tokens.
        blocks: Transformer blocks of the rebuilder.
        heads: Attention heads of a block.
        levels: Numbers of the feature levels that are rebuilt, None for all that the encoder gives. For heads that read
            one alone, as those of DeepLabV2 do, naming it saves the work for the others.
        weight: Factor of all losses.
        threshold: Probability above which a pixel counts as confident, None weighs all pseudo-labels 1.
        ignore_top: Rows at the top of the crop without pseudo-label loss.
        ignore_bottom: Rows at the bottom without it.
        name: Prefix in the log.

    Raises:
        ValueError: If a value is out of its range.
    """

    needs_target = True
    needs_teacher = True

    def __init__(self, ratio: float = 0.4, cell: int = 32, width: int = 512, blocks: int = 2, heads: int = 16,
                 levels: Sequence[int] | None = None, weight: float = 1.0, threshold: float | None = 0.968,
                 ignore_top: int = 0, ignore_bottom: int = 0, name: str = 'rebuilt') -> None:
        super().__init__(name)
        if not 0 <= ratio <= 1 or weight <= 0:
            raise ValueError(f'MaskedRepresentationModeling got ratio={ratio}, weight={weight}: a ratio lies in [0, 1], a '
                             'weight is above 0')
        self.ratio, self.cell, self.weight = ratio, cell, weight
        self.rule = PseudoLabelRule(threshold, ignore_top, ignore_bottom)
        self.levels = None if levels is None else sorted(set(levels))
        self._network = dict(cell=cell, width=width, blocks=blocks, heads=heads)
        self.rebuilder: FeatureRebuilder | None = None

    def attach(self, student: TrainableSegmentor) -> None:
        """Builds the rebuilder for the student's feature levels.

        Raises:
            ValueError: If a level is not there.
        """
        given = feature_levels(student.module)
        self.levels = list(range(len(given))) if self.levels is None else self.levels
        if not self.levels or not 0 <= self.levels[0] <= self.levels[-1] < len(given):
            raise ValueError(f'levels of {self.name} are {self.levels}, but the segmentor has the feature levels 0 to '
                             f'{len(given) - 1}: name some of these, or None for all')
        self.rebuilder = FeatureRebuilder([FeatureLevel(*given[level]) for level in self.levels], **self._network)

    def forward(self, context: StepContext) -> dict[str, Tensor]:
        """Computes the losses on the rebuilt features of the target images."""
        images_BCHW, pseudo = context.target.images_BCHW, context.pseudo_labels(self.rule)
        views = context.student_views(self.name, images_BCHW)
        encoded = [context.student.encode(view) for view in views]
        rebuilt = [self._rebuilt(features, self._visible(context, view, number))
                   for number, (view, features) in enumerate(zip(views, encoded, strict=True))]
        with running_statistics_kept(context.student.module):
            batch = StudentBatch(images_BCHW, pseudo.labels_BHW, pseudo.weights_BHW)
            losses = context.student_losses(self.name, rebuilt, batch).losses
        return {key: self.weight * value if 'loss' in key else value for key, value in losses.items()}

    def _rebuilt(self, features: ViewFeatures, visible_B1gk: Tensor) -> ViewFeatures:
        levels = list(features.levels)
        chosen = self.rebuilder([levels[level] for level in self.levels], visible_B1gk)
        for level, rebuilt in zip(self.levels, chosen, strict=True):
            levels[level] = rebuilt
        return features._replace(levels=tuple(levels))

    def _visible(self, context: StepContext, view: View, number: int) -> Tensor:
        """Draws which cells of a view stay, for each image: float32 [B, 1, g, k]."""
        images, grid = len(view.images_BCHW), tuple(round(side / self.cell) for side in view.images_BCHW.shape[2:])
        if min(grid) < 1:
            raise ValueError(f'{self.name} has cells of {self.cell} pixels, but the encoder sees images of '
                             f'{tuple(view.images_BCHW.shape[2:])}: lower cell or raise the crop size')
        noise_Bgk = np.stack([context.uniform(f'{self.name}.cells', number, index, size=grid)
                              for index in context.sample_indices(images)])
        visible_B1gk = torch.from_numpy((noise_Bgk > self.ratio).astype(np.float32))[:, None]
        return visible_B1gk.to(view.images_BCHW.device, non_blocking=True)
