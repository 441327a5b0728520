"""Masked representation modeling (MRM, Zhou et al., CVPR 2026): hidden features of the target, rebuilt and classified.

Shape suffixes: B images, C channels, H and W height and width, g and k height and width of the grid of cells.
"""
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from ...models.diffusion.shift_encoder import FeatureLevel, feature_levels
from ...models.rebuilder import FeatureRebuilder
from ...models.segmentor_protocol import TrainableSegmentor, View, ViewFeatures
from ..pseudo_labels import PseudoLabelRule
from ..step_context import StepContext, StudentBatch
from .degradation import running_statistics_kept
from .latent_alignment import diffusion_head
from .objective import Objective

REBUILDERS = ('transformer', 'denoiser')


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
        rebuilder: ``'transformer'``, as published, with the four arguments above; ``'denoiser'``: the one of a
            :class:`LatentDiffusionHead`, in one step from no noise. It sees zero, the mean of latents, at hidden places,
            where the skips become zero too. A head with ``training.decoder_input='latent'`` and ``inference.steps=0``
            needs it nowhere else, so predictions cost nothing more.
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
                 levels: Sequence[int] | None = None, rebuilder: str = 'transformer', weight: float = 1.0,
                 threshold: float | None = 0.968, ignore_top: int = 0, ignore_bottom: int = 0,
                 name: str = 'rebuilt') -> None:
        super().__init__(name)
        if not 0 <= ratio <= 1 or weight <= 0:
            raise ValueError(f'MaskedRepresentationModeling got ratio={ratio}, weight={weight}: a ratio lies in [0, 1], a '
                             'weight is above 0')
        if rebuilder not in REBUILDERS:
            raise ValueError(f'MaskedRepresentationModeling got rebuilder={rebuilder!r}, allowed are {REBUILDERS}')
        self.ratio, self.cell, self.weight = ratio, cell, weight
        self.rule = PseudoLabelRule(threshold, ignore_top, ignore_bottom)
        self.levels = None if levels is None else sorted(set(levels))
        self._network = dict(cell=cell, width=width, blocks=blocks, heads=heads)
        self.rebuilder: FeatureRebuilder | None = None
        self._rebuilder_kind = rebuilder

    def attach(self, student: TrainableSegmentor) -> None:
        """Builds the rebuilder for the student's feature levels.

        Raises:
            TypeError: If the denoiser is to rebuild and the head has none of latents.
            ValueError: If a level is not there, or the denoiser learns from noise or decodes its own estimates.
        """
        if self._rebuilder_kind == 'denoiser':
            self._check_denoiser(student)
            return
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
        rebuild = self._rebuilt if self._rebuilder_kind == 'transformer' else partial(self._denoised, context)
        rebuilt = [rebuild(features, self._visible(context, view, number))
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

    def _denoised(self, context: StepContext, features: ViewFeatures, visible_B1gk: Tensor) -> ViewFeatures:
        levels = []
        for level in features.levels:
            visible_B1hw = F.interpolate(visible_B1gk, size=level.shape[2:], mode='nearest').to(level.dtype)
            levels.append(level * visible_B1hw)
        seeds = context.sample_seeds(self.name, len(levels[-1]))  # the last level is the latent
        restored_BChw = context.student.denoising_head.estimate(levels[-1], seeds).clean_BChw
        levels[-1] = levels[-1] + restored_BChw * (1 - visible_B1hw)
        return features._replace(levels=tuple(levels))

    def _check_denoiser(self, student: TrainableSegmentor) -> None:
        head, key = diffusion_head(student, f"{self.name} with rebuilder='denoiser'"), 'model.segmentor.decode_head'
        if head.denoiser is None or head.diffused != 'image' or head.training_settings.decoder_input != 'latent':
            raise ValueError(f"{self.name} with rebuilder='denoiser' needs {key}.denoiser, {key}.diffused='image' and "
                             f"{key}.training.decoder_input='latent', so that the decoder sees what was rebuilt")
        if head.training_settings.noise != 'zero' or head.training_settings.timesteps != 'start':
            raise ValueError(f"{self.name} with rebuilder='denoiser' takes the hidden places for the noise: set "
                             f"{key}.training=dict(noise='zero', timesteps='start', noise_loss_weight=0, "
                             "decoder_input='latent')")
        if self.levels is not None:
            raise ValueError(f"{self.name} with rebuilder='denoiser' hides places of all levels: remove levels")

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
