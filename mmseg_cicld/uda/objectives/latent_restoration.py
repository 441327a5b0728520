"""The shift between domains as the noise: the denoiser restores the latent of an image that was degraded.

Shape suffixes: B images, C channels, H and W height and width, h and w height and width of the latent.
"""
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from ...models.segmentor_protocol import TrainableSegmentor
from ..augmentation import build_augmentation
from ..pseudo_labels import PseudoLabelRule
from ..step_context import StepContext, StudentBatch
from .degradation import running_statistics_kept
from .latent_alignment import diffusion_head
from .objective import Objective

TASKS = ('segmentation', 'reconstruction')


@MODELS.register_module()
class LatentRestoration(Objective):
    """Teaches the denoiser of a :class:`LatentDiffusionHead` the teacher's latent of the clean image.

    It sees the student's latent of the degraded image, which takes the place of a noisy one: set the head's
    ``training=dict(timesteps='start', noise='zero', ...)`` and ``inference=dict(steps=1, noise='zero')``, so that nothing
    else is added and a prediction goes through the same single step. Two passes, each back-propagated by itself: source
    images with their labels, target images with pseudo-labels of the clean image. Running statistics of batch norms,
    the teacher's too, see what they see without it.

    Args:
        degradation: Config of a degradation of DiDA, whose level is drawn; None degrades by ``augmentation`` alone.
        augmentation: Config of the augmentation before it, see :class:`~mmseg_cicld.uda.augmentation.Augmentation`; by
            default the colour jitter and blur of mixed images. False for none.
        task: ``'segmentation'``: the latent goes on into the decoder, whose losses train encoder, denoiser and decoder
            with it. ``'reconstruction'``: the second task of a denoiser with ``num_class_embeds=2``, told by its switch;
            no labels are used, and the denoiser alone learns (after Lotus-D, He et al., ICLR 2025, which reconstructs
            the latent of the image beside that of the annotation).
        weight: Factor of the mean square between both latents, from 0 on. The segmentation losses have factor 1.
        threshold: Probability above which a pixel of a pseudo-label counts as confident, None weighs all 1.
        name: Prefix in the log.

    Raises:
        ValueError: If a value is out of its range, or nothing is degraded or learned.
    """

    needs_target = True
    needs_teacher = True

    def __init__(self, degradation: dict | None = None, augmentation: bool | dict = True, task: str = 'segmentation',
                 weight: float = 1.0, threshold: float | None = 0.968, name: str = 'restored') -> None:
        super().__init__(name)
        if task not in TASKS:
            raise ValueError(f'LatentRestoration got task={task!r}, allowed are {TASKS}')
        if weight < 0 or (not weight and task == 'reconstruction'):
            raise ValueError(f'LatentRestoration got weight={weight} with task={task!r}: allowed are values from 0 on, '
                             'above 0 for the reconstruction, which has no other loss')
        if degradation is None and not augmentation and task == 'segmentation':
            raise ValueError('LatentRestoration has nothing to restore: set degradation or augmentation=True')
        self.degradation = None if degradation is None else MODELS.build(degradation)
        self.augmentation = None
        if augmentation:
            self.augmentation = build_augmentation(augmentation if isinstance(augmentation, dict) else None)
        self.rule = PseudoLabelRule(threshold)
        self.task, self.weight = task, weight

    @property
    def passes(self) -> Sequence[Callable[[StepContext], dict[str, Tensor]]]:
        """One for the source images, one for the target images."""
        return partial(self, domain='source'), partial(self, domain='target')

    def attach(self, student: TrainableSegmentor) -> None:
        """Checks that the student's head denoises, as the task needs it.

        Raises:
            TypeError: If the head does not denoise latents.
            ValueError: If it has no denoiser, another one than the task needs, or degradation is not its only noise.
        """
        head, key = diffusion_head(student, type(self).__name__), 'model.segmentor.decode_head'
        if head.denoiser is None or head.diffused != 'image':
            raise ValueError(f"{self.name} needs a denoiser of image latents: set {key}.denoiser and {key}.diffused='image'")
        if head.training_settings.noise != 'zero' or head.training_settings.timesteps != 'start':
            raise ValueError(f"{self.name} takes the degradation for the noise: set {key}.training=dict(noise='zero', "
                             "timesteps='start', noise_loss_weight=0, denoiser_learns_task=True)")
        if self.task == 'reconstruction' and head.denoiser.tasks < 2:
            raise ValueError(f"{self.name} with task='reconstruction' needs a switch in the denoiser: set "
                             f'{key}.denoiser.num_class_embeds=2')
        if self.task == 'segmentation' and head.training_settings.decoder_input != 'estimate':
            raise ValueError(f"{self.name} with task='segmentation' decodes the restored latent: set "
                             f"{key}.training.decoder_input='estimate'")
        if self.augmentation is not None:
            self.augmentation.check(student.normalisation, f'augmentation of {self.name}')

    def forward(self, context: StepContext, domain: str) -> dict[str, Tensor]:
        """Computes the losses on the images of one domain, ``'source'`` or ``'target'``."""
        name = f'{self.name}.{domain}'
        images_BCHW = (context.source if domain == 'source' else context.target).images_BCHW
        degraded_BCHW = self._degraded(context, name, images_BCHW)
        context.show(f'restored_{domain}_image', degraded_BCHW)
        with running_statistics_kept(context.student.module):
            features = [context.student.encode(view) for view in context.student_views(name, degraded_BCHW)]
            losses = {}
            if self.task == 'segmentation':
                batch = StudentBatch(degraded_BCHW, *self._labels(context, domain))
                losses = context.student_losses(name, features, batch).losses
        if self.weight:
            losses = {**losses, 'loss_latent': self._latent_loss(context, name, features[0].levels[-1], images_BCHW)}
        return {f'{domain}.{key}': value for key, value in losses.items()}

    def _latent_loss(self, context: StepContext, name: str, latent_BChw: Tensor, images_BCHW: Tensor) -> Tensor:
        with running_statistics_kept(context.teacher.network):
            clean_BChw = context.teacher.features(images_BCHW)[-1]
        second = self.task == 'reconstruction'
        seeds = context.sample_seeds(name, len(latent_BChw))
        head = context.student.denoising_head
        restored_BChw = head.estimate(latent_BChw.detach() if second else latent_BChw, seeds, task=int(second)).clean_BChw
        return self.weight * F.mse_loss(restored_BChw, clean_BChw.to(restored_BChw.dtype))

    def _labels(self, context: StepContext, domain: str) -> tuple[Tensor, Tensor | None]:
        if domain == 'source':
            return context.source.labels_BHW, None
        pseudo = context.pseudo_labels(self.rule)
        return pseudo.labels_BHW, pseudo.weights_BHW

    @torch.no_grad()
    def _degraded(self, context: StepContext, name: str, images_BCHW: Tensor) -> Tensor:
        if self.augmentation is not None:
            images_BCHW = context.augmented(name, self.augmentation, images_BCHW)
        if self.degradation is None:
            return images_BCHW
        levels = [int(context.uniform(f'{name}.level', index) * self.degradation.steps)
                  for index in context.sample_indices(len(images_BCHW))]
        return self.degradation(images_BCHW, levels, context.sample_seeds(f'{name}.degradation', len(images_BCHW)))[0]
