"""Degradation bridging (DiDA, Li et al., NeurIPS 2025): consistency of predictions under degradation of the image.

Shape suffixes: B images, C channels, H and W height and width.
"""
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...models.diffusion.reconstruction import LogitReconstruction, ReconstructionHead, shrink_target
from ...models.diffusion.shift_encoder import SeparateShiftEncoder, SharedShiftEncoder, feature_levels
from ...models.losses.degradation_consistency import DegradationConsistencyLoss
from ...models.segmentor_protocol import TrainableSegmentor, View, ViewFeatures
from ..pseudo_labels import PseudoLabelRule
from ..step_context import StepContext, StudentBatch
from .objective import Objective

SHIFT_ENCODERS = ('separate', 'shared', None)
RECONSTRUCTIONS = ('own_head', 'shared_head', None)
CROP_MULTIPLE = 32  # what the deepest levels of backbones divide by


@MODELS.register_module()
class DegradationConsistency(Objective):
    """The segmentor's own losses on degraded images, which a shift encoder helps, and their reconstruction.

    Two passes, each back-propagated by itself: degraded source images are supervised by their labels, degraded target
    images (not mixed) by pseudo-labels of the clean image. What trains with them is not part of the segmentor.
    Running statistics of its batch norms see clean images alone, as networks are tested on them.

    ``shift_encoder`` and ``reconstruction`` give the rows of the paper's ablation: (None, None), ('shared', None),
    ('shared', 'shared_head'), ('shared', 'own_head'), ('separate', 'own_head').

    Args:
        degradation: Config of a degradation; by default noise of 100 levels with a sigmoid schedule on a grid of 4
            pixels, as in the released code.
        shift_encoder: ``'separate'`` adds features of an encoder of the same architecture that knows the level (g');
            ``'shared'`` modulates the student's features by the level; None leaves them alone.
        reconstruction: ``'own_head'`` restores noise or clean image by a head of its own (h'); ``'shared_head'`` by one
            linear layer from the logits; None does not.
        weights: Of :class:`DegradationConsistencyLoss`.
        threshold: Probability above which a pixel counts as confident, None weighs all pseudo-labels 1. No rows of the
            crop are left out, as in the released code.
        same_draws: Source and target image of a pair get the same level and noise, as in the released code.
        recompute: Activations of the separate encoder are computed twice instead of kept: less memory, more time.
        crop: Side of the random part of each image that is degraded and seen, as a share in (0, 1) of the image's:
            0.5 takes about a quarter of the time and memory. Rounded to multiples of 32 pixels; with HRDA at least its
            ``hr_crop_size``. None: whole images, as published.
        name: Prefix in the log.

    Raises:
        ValueError: If a value is out of its range.
    """

    needs_target = True
    needs_teacher = True

    def __init__(self, degradation: dict | None = None, shift_encoder: str | None = 'separate',
                 reconstruction: str | None = 'own_head', weights: str | Sequence[float] = 'paper',
                 threshold: float | None = 0.968, same_draws: bool = True, recompute: bool = False,
                 crop: float | None = None, name: str = 'degraded') -> None:
        super().__init__(name)
        if shift_encoder not in SHIFT_ENCODERS:
            raise ValueError(f'DegradationConsistency got shift_encoder={shift_encoder!r}, allowed are '
                             f'{SHIFT_ENCODERS}')
        if reconstruction not in RECONSTRUCTIONS:
            raise ValueError(f'DegradationConsistency got reconstruction={reconstruction!r}, allowed are '
                             f'{RECONSTRUCTIONS}')
        if recompute and shift_encoder != 'separate':
            raise ValueError(f'DegradationConsistency with shift_encoder={shift_encoder!r} has no encoder of its own '
                             'to recompute: remove recompute')
        if crop is not None and not 0 < crop < 1:
            raise ValueError(f'DegradationConsistency got crop={crop}, allowed are None and shares in (0, 1)')
        self.degradation = MODELS.build(degradation or dict(type='NoiseDegradation', noise_stride=4))
        self.loss = DegradationConsistencyLoss(weights)
        self.rule = PseudoLabelRule(threshold)
        self.same_draws = same_draws
        self.shift_encoder: nn.Module | None = None
        self.reconstruction_head: nn.Module | None = None
        self._shift_encoder_kind, self._reconstruction_kind = shift_encoder, reconstruction
        self._recompute, self.crop = recompute, crop

    @property
    def passes(self) -> Sequence[Callable[[StepContext], dict[str, Tensor]]]:
        """One for the source images, one for the target images."""
        return partial(self, domain='source'), partial(self, domain='target')

    def attach(self, student: TrainableSegmentor) -> None:
        """Builds shift encoder and reconstruction.

        Raises:
            ValueError: If the student computes batch norms a second time in the backward pass.
        """
        _refuse_recomputed_norms(student.module)
        if self._shift_encoder_kind == 'separate':
            self.shift_encoder = SeparateShiftEncoder(student.module, self._recompute)
        elif self._shift_encoder_kind == 'shared':
            self.shift_encoder = SharedShiftEncoder(student.module)
        self.reconstruction_head = self._build_reconstruction(student)

    @property
    def copies_of_student(self) -> Mapping[str, nn.Module]:
        """The separate encoder without its modulation."""
        return {'shift_encoder.encoder': self.shift_encoder.encoder} if self._shift_encoder_kind == 'separate' else {}

    def _build_reconstruction(self, student: TrainableSegmentor) -> nn.Module | None:
        channels = student.normalisation[0].shape[1]
        if self._reconstruction_kind == 'own_head':
            return ReconstructionHead(feature_levels(student.module), self.degradation.target_stride, channels)
        if self._reconstruction_kind == 'shared_head':
            return LogitReconstruction(student.main_head.out_channels, channels)
        return None

    def forward(self, context: StepContext, domain: str) -> dict[str, Tensor]:
        """Computes the losses on the degraded images of one domain, ``'source'`` or ``'target'``."""
        name = f'{self.name}.{domain}'
        images_BCHW, labels_BHW, weights_BHW = self._cropped(context, domain, self._supervision(context, domain))
        levels, seeds = self._draws(context, domain, len(images_BCHW))
        with torch.no_grad():
            degraded_BCHW, target_BCHW = self.degradation(images_BCHW, levels, seeds)
        context.show(f'degraded_{domain}_image', degraded_BCHW)
        views = context.student_views(name, degraded_BCHW)
        with running_statistics_kept(context.student.module):
            features = self._compensated(context.student, views, levels)
            output = context.student_losses(name, features, StudentBatch(degraded_BCHW, labels_BHW, weights_BHW))
        if self._reconstruction_kind == 'shared_head':
            targets = [shrink_target(target_BCHW, self.degradation.target_stride)]
            predictions = [self.reconstruction_head(output.logits_BCHW, tuple(targets[0].shape[2:]))]
        else:
            targets = [shrink_target(view.images_BCHW, self.degradation.target_stride)
                       for view in context.student_views(name, target_BCHW)]
            predictions = self._reconstructed(features, targets)
        losses = self.loss(output.losses, predictions, targets if predictions else ())
        return {f'{domain}.{key}': value for key, value in losses.items()}

    def _supervision(self, context: StepContext, domain: str) -> tuple[Tensor, Tensor, Tensor | None]:
        if domain == 'source':
            return context.source.images_BCHW, context.source.labels_BHW, None
        pseudo = context.pseudo_labels(self.rule)
        return context.target.images_BCHW, pseudo.labels_BHW, pseudo.weights_BHW

    def _cropped(self, context: StepContext, domain: str, tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Cuts the same random box out of a sample's image, label and weights."""
        if self.crop is None:
            return list(tensors)
        height, width = tensors[0].shape[2:]
        sides = [max(CROP_MULTIPLE, round(side * self.crop / CROP_MULTIPLE) * CROP_MULTIPLE)
                 for side in (height, width)]
        if sides[0] > height or sides[1] > width:
            raise ValueError(f'DegradationConsistency with crop={self.crop} cuts {sides[0]} x {sides[1]} pixels out of '
                             f'crops of {height} x {width}: set crop=None, or a larger crop_size')
        boxes = []
        for index in context.sample_indices(len(tensors[0])):
            y, x = context.uniform(f'{self.name}.{domain}.crop', index, size=2)
            top, left = int(y * (height - sides[0] + 1)), int(x * (width - sides[1] + 1))
            boxes.append((..., slice(top, top + sides[0]), slice(left, left + sides[1])))
        return [None if tensor is None else torch.stack([sample[box] for sample, box in zip(tensor, boxes)])
                for tensor in tensors]

    def _draws(self, context: StepContext, domain: str, samples: int) -> tuple[list[int], list[int]]:
        stream = self.name if self.same_draws else f'{self.name}.{domain}'
        levels = [int(context.uniform(f'{stream}.level', index) * self.degradation.steps)
                  for index in context.sample_indices(samples)]
        return levels, context.sample_seeds(f'{stream}.degradation', samples)

    def _compensated(self, student: TrainableSegmentor, views: Sequence[View],
                     levels: Sequence[int]) -> list[ViewFeatures]:
        """Encodes the views of degraded images; the shift encoder, if there is one, goes first (see there)."""
        if self.shift_encoder is None:
            return [student.encode(view) for view in views]
        levels_B = torch.tensor(levels).to(views[0].images_BCHW.device, non_blocking=True)
        shifts = [self.shift_encoder.shifts(view.images_BCHW) for view in views]
        features = []
        for view, shift in zip(views, shifts, strict=True):
            encoded = student.encode(view)
            features.append(encoded._replace(levels=self.shift_encoder(encoded.levels, shift, levels_B)))
        return features

    def _reconstructed(self, features: Sequence[ViewFeatures], targets: Sequence[Tensor]) -> list[Tensor]:
        if self.reconstruction_head is None:
            return []
        return [self.reconstruction_head(view.levels, tuple(target_BCHW.shape[2:]))
                for view, target_BCHW in zip(features, targets, strict=True)]


def _refuse_recomputed_norms(student: nn.Module) -> None:
    for name, module in student.named_modules():
        if getattr(module, 'with_cp', False) and any(isinstance(part, _BatchNorm) for part in module.modules()):
            raise ValueError(f'{name}.with_cp=True of the segmentor computes batch norms again in the backward pass, '
                             'where degraded images would move their running statistics: set with_cp=False')


@contextmanager
def running_statistics_kept(network: nn.Module) -> Iterator[None]:
    """Lets batch norms use the statistics of their batch without moving the running ones, inside the block."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
