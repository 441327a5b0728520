"""What one training step knows: the batch, the draws, the networks, and what was computed from them so far.

Shape suffixes: B images, C channels, H and W height and width.
"""
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from torch import Tensor

from ..models.segmentor_protocol import TrainableSegmentor, TrainingOutput, View, ViewFeatures
from ..random_streams import KeyedStreams
from .augmentation import Augmentation
from .mixing import NUM_IDS, MixedBatch, choose_classes, class_mix, mix_masks, present_ids
from .pseudo_labels import LabelWeighting, PseudoLabels
from .teacher import EMATeacher


@dataclass(frozen=True)
class DomainBatch:
    """A preprocessed batch of one domain.

    Args:
        images_BCHW: Normalised float images.
        labels_BHW: int64 class ids, ``ignore_index`` of the segmentor where there is none, None for the target.
        valid_B1HW: uint8, 1 where a pseudo-label may be used, None if the data has no such mask.
        files: Image files, for messages.
        real_BHW: bool, False for pixels that the data preprocessor added, None if it added none.
    """

    images_BCHW: Tensor
    labels_BHW: Tensor | None
    valid_B1HW: Tensor | None
    files: tuple[str, ...]
    real_BHW: Tensor | None = None


class StudentBatch(NamedTuple):
    """What the student is trained on: images [B, C, H, W], labels int64 [B, H, W], weights [B, H, W] or None."""

    images_BCHW: Tensor
    labels_BHW: Tensor
    weights_BHW: Tensor | None = None


class StudentPass(NamedTuple):
    """A training forward that a later objective uses again.

    Its batch, and without graph the logits of the main head [B, classes, H, W] and the last feature map [B, C, h, w].
    """

    batch: StudentBatch
    logits_BCHW: Tensor
    latent_BChw: Tensor


# From the step, the batch of the forward and its logits to corrected logits.
Correction = Callable[['StepContext', StudentBatch, Tensor], Tensor]


class StepContext:
    """The state of one step, shared by all objectives; costly parts are computed on first use and kept.

    Args:
        source: Labelled batch.
        target: Unlabelled batch, None when training on the source alone.
        iteration: Number of iterations before this one.
        streams: Random streams of the run.
        student: The segmentor that is trained.
        teacher: Its EMA, None without one.
        kept: Names of the objectives whose training forward a later one uses again.
        corrections: What maps the logits of a training forward to those that its losses see, by the objective's name.
    """

    def __init__(self, source: DomainBatch, target: DomainBatch | None, iteration: int, streams: KeyedStreams,
                 student: TrainableSegmentor, teacher: EMATeacher | None, kept: Collection[str] = (),
                 corrections: Mapping[str, Correction] | None = None) -> None:
        self.source, self.target = source, target
        self.iteration = iteration
        self.student, self.teacher = student, teacher
        self._kept, self._corrections = kept, corrections or {}
        self._passes: dict[str, StudentPass] = {}
        self._streams = streams
        self._teacher_labels: tuple[Tensor, Tensor] | None = None
        self._pseudo_labels: dict[LabelWeighting, PseudoLabels] = {}
        self._mixed: dict[tuple[LabelWeighting, Augmentation, Augmentation | None], MixedBatch] = {}
        self._shown: dict[str, Tensor] = {}

    @property
    def indices(self) -> range:
        """Index of each sample of this process in the batch of all processes; keys what is drawn for it."""
        return self.sample_indices(len(self.source.images_BCHW))

    def sample_indices(self, samples: int) -> range:
        """The same for a batch of another number of samples."""
        return range(get_rank(), get_rank() + get_world_size() * samples, get_world_size())

    def uniform(self, name: str, *key: int, size: int | tuple[int, ...] | None = None) -> np.ndarray | float:
        """Draws numbers in [0, 1) for this iteration, see :class:`KeyedStreams`."""
        return self._streams.uniform(name, self.iteration, *key, size=size)

    def train_student(self, name: str, images_BCHW: Tensor, labels_BHW: Tensor,
                      weights_BHW: Tensor | None = None) -> TrainingOutput:
        """Runs one training forward of the student.

        Args:
            name: Name of the objective, keys what is drawn for this forward.
            images_BCHW: Normalised float images.
            labels_BHW: int64 class ids.
            weights_BHW: Loss weight of each pixel in [0, 1]; all one if None.
        """
        features = [self.student.encode(view) for view in self.student_views(name, images_BCHW)]
        return self.student_losses(name, features, StudentBatch(images_BCHW, labels_BHW, weights_BHW))

    def student_views(self, name: str, images_BCHW: Tensor) -> tuple[View, ...]:
        """Returns what the student's encoder sees of images, or of maps of their size, in the forward of this name."""
        return self.student.views(images_BCHW, self.uniform(f'{name}.crop_box', size=2))

    def student_losses(self, name: str, features: Sequence[ViewFeatures], batch: StudentBatch) -> TrainingOutput:
        """The second half of :meth:`train_student`, for objectives that look at the features or change them.

        Args:
            name: As above.
            features: One entry for each view.
            batch: What they come from, and what they are to become.
        """
        seeds = self.sample_seeds(name, len(batch.images_BCHW))
        correction = self._corrections.get(name)
        adjust = None if correction is None else partial(correction, self, batch)
        output = self.student.losses(features, batch.labels_BHW, batch.weights_BHW, seeds, adjust)
        if name in self._kept:
            self._passes[name] = StudentPass(batch, output.logits_BCHW.detach(), features[0].levels[-1].detach())
        return output

    def student_pass(self, name: str) -> StudentPass:
        """Returns the training forward of an earlier objective, which this one has declared that it needs."""
        return self._passes[name]

    def predict_student(self, name: str, images_BCHW: Tensor) -> Tensor:
        """Returns the student's logits with gradient, float [B, classes, H, W]; ``name`` as above."""
        features = [self.student.encode(view) for view in self.student_views(name, images_BCHW)]
        return self.student.decode(features, tuple(images_BCHW.shape[2:]))

    def sample_seeds(self, name: str, samples: int) -> list[int]:
        """Returns a seed in [0, 2**63) for each sample of this process, keyed by name, iteration and sample."""
        return [self._streams.integer(f'{name}.sample', self.iteration, index) for index in self.sample_indices(samples)]

    @torch.no_grad()
    def pseudo_labels(self, rule: LabelWeighting) -> PseudoLabels:
        """Returns the teacher's pseudo-labels of the clean target images under a rule."""
        if rule not in self._pseudo_labels:
            if self._teacher_labels is None:
                self._teacher_labels = self.teacher.labels_and_confidence(self.target.images_BCHW)
            self._pseudo_labels[rule] = self._weighted(self._teacher_labels, rule)
        return self._pseudo_labels[rule]

    @torch.no_grad()
    def pseudo_labels_of(self, teacher: EMATeacher, rule: LabelWeighting) -> PseudoLabels:
        """The same by another teacher than the model's, computed anew."""
        return self._weighted(teacher.labels_and_confidence(self.target.images_BCHW), rule)

    def _weighted(self, predicted: tuple[Tensor, Tensor], rule: LabelWeighting) -> PseudoLabels:
        return rule(*predicted, self.target.valid_B1HW, self.target.real_BHW)

    @torch.no_grad()
    def mixed(self, rule: LabelWeighting, augmentation: Augmentation,
              target_augmentation: Augmentation | None = None) -> MixedBatch:
        """Returns the ClassMix batch; source image i is pasted onto target image i.

        Args:
            rule: Of the pseudo-labels, which are those of clean target images.
            augmentation: Of the mixed images.
            target_augmentation: Of the target images before they are mixed; None: they stay as they are.
        """
        key = (rule, augmentation, target_augmentation)
        if key not in self._mixed:
            pseudo = self.pseudo_labels(rule)
            mask_BHW = self.mix_mask()
            target_BCHW = self.target.images_BCHW
            if target_augmentation is not None:
                target_BCHW = self.augmented('mix.target', target_augmentation, target_BCHW)
            batch = class_mix(mask_BHW, (self.source.images_BCHW, self.source.labels_BHW),
                              (target_BCHW, pseudo.labels_BHW, pseudo.weights_BHW))
            self._mixed[key] = batch._replace(images_BCHW=self.augmented('mix', augmentation, batch.images_BCHW))
        return self._mixed[key]

    @torch.no_grad()
    def mix_mask(self) -> Tensor:
        """Returns the ClassMix mask, bool [B, H, W], true where the source image is pasted."""
        labels_BHW = self.source.labels_BHW
        scores = np.stack([self.uniform('mix.classes', i, size=NUM_IDS) for i in self.indices])
        scores_BK = torch.from_numpy(scores).to(labels_BHW.device, non_blocking=True)
        return mix_masks(labels_BHW, choose_classes(present_ids(labels_BHW), scores_BK))

    @torch.no_grad()
    def augmented(self, name: str, augmentation: Augmentation, images_BCHW: Tensor) -> Tensor:
        """Returns augmented images; what is drawn is keyed by ``name``."""
        def uniform(draw: str, *key: int, size: int | tuple[int, ...] | None = None) -> np.ndarray | float:
            return self.uniform(f'{name}.{draw}', *key, size=size)

        indices = self.sample_indices(len(images_BCHW))
        return augmentation(images_BCHW, self.student.normalisation, uniform, indices)

    def teacher_prediction(self) -> tuple[Tensor, Tensor] | None:
        """Returns label and confidence, [B, H, W], that the teacher gave each target pixel; None if it was not asked."""
        if self._teacher_logits is None:
            return None
        return self.student.label_rule.labels_and_confidence(self._teacher_logits)

    def confident_share(self) -> Tensor | None:
        """Returns the confident share of the first pseudo-labels with a threshold, None if there are none."""
        shares = [pseudo.confident_share for rule, pseudo in self._pseudo_labels.items() if rule.threshold is not None]
        return shares[0] if shares else None

    def show(self, name: str, images_BCHW: Tensor) -> None:
        """Adds normalised images to :meth:`panel`."""
        self._shown[name] = images_BCHW

    def panel(self) -> dict[str, Tensor]:
        """Returns what this step computed as CPU tensors for a picture; images are RGB uint8 [B, 3, H, W]."""
        parts = {}
        if self.source is not None:
            parts.update(source_image=self._picture(self.source.images_BCHW), source_label=self.source.labels_BHW)
        if self.target is not None:
            parts['target_image'] = self._picture(self.target.images_BCHW)
        for pseudo in list(self._pseudo_labels.values())[:1]:
            parts.update(pseudo_label=pseudo.labels_BHW, pseudo_weight=pseudo.weights_BHW,
                         pseudo_confidence=self.teacher_prediction()[1])
        for mixed in list(self._mixed.values())[:1]:
            parts.update(mixed_image=self._picture(mixed.images_BCHW), mixed_label=mixed.labels_BHW,
                         mixed_weight=mixed.weights_BHW)
        parts.update({name: self._picture(images_BCHW) for name, images_BCHW in self._shown.items()})
        return {name: part.detach().cpu() for name, part in parts.items()}

    def _picture(self, images_BCHW: Tensor) -> Tensor:
        mean, std = self.student.normalisation
        values_BCHW = images_BCHW * std + mean
        channels = values_BCHW.shape[1]
        # One channel is shown in grey; of more than three, the first three.
        values_BCHW = values_BCHW[:, :3] if channels >= 3 else values_BCHW[:, :1].expand(-1, 3, -1, -1)
        if float(mean.max()) > 255:  # more than 8 bits
            values_BCHW = values_BCHW * (255 / values_BCHW.amax().clamp(min=1))
        return values_BCHW.round().clamp(0, 255).to(torch.uint8)
