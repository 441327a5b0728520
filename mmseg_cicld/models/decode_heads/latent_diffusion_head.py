"""Segmentation from a denoised latent (CICLD, Yu et al., 2024, section 3).

Shape suffixes: B images, C channels, h and w size of the latent, H and W size of a label map, M condition tokens.
"""
from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.func import functional_call

from ...random_streams import KeyedStreams
from ...settings import build_settings
from ..diffusion.denoiser import Denoiser, check_condition
from ..diffusion.diffusers_schedulers import build_scheduler
from ..diffusion.mask_encoder import LabelLatent
from ..diffusion.noising import Draws, Noising
from ..diffusion.sampling import ReverseProcess
from ..export_tracing import constant_draws
from ..head_losses import AdjustLogits, pixel_losses
from ..precision import full_precision
from .inter_coder_decoder import InterCoderDecoder
from .latent_diffusion_settings import InferenceSettings, TrainingSettings, check_settings, one_of

if TYPE_CHECKING:  # diffusers loads when a model with diffusion is built, see models/__init__.py
    from diffusers import SchedulerMixin


class LatentEstimate(NamedTuple):
    """Estimates of the clean latent and of the noise, the noise that it was, and the timesteps [B]."""

    clean_BChw: Tensor
    noise_BChw: Tensor
    true_noise_BChw: Tensor
    timesteps_B: Tensor


class _Denoised(NamedTuple):
    noisy_BChw: Tensor
    prediction_BChw: Tensor


# Parts of the head that a network for prediction may lack.
TRAINING_PARTS = ('mask_encoder', 'label_latent', 'denoiser')


@MODELS.register_module()
class LatentDiffusionHead(BaseDecodeHead):
    """Noises a latent, denoises it with a diffusers UNet, and decodes it with the encoder's skips beside it.

    Training takes one timestep a sample, and the decoder learns on the estimate of the clean latent from there.
    Predictions run a diffusers scheduler and never see a label: ``forward`` takes features alone.

    Args:
        in_channels: Channels of what :class:`InterCoderNeck` gives: the skips, finest first, then the latent.
        decoder_channels: Channels of the decoder stages without their skips, coarsest first.
        denoiser: A diffusers UNet, see :class:`Denoiser`. None leaves diffusion out: the decoder sees the latent.
        scheduler: A diffusers scheduler, see :func:`build_scheduler`.
        diffused: What noise is added to: ``'image'``, the latent of the image, as in the paper; or ``'label'``, a
            latent of the label map, which prediction starts from noise alone (at the last timestep) and which needs
            ``condition='concat'``.
        condition: What else the denoiser sees: ``'none'``, ``'concat'`` (the image latent beside the noisy one, second
            version of the paper) or ``'mask_attention'`` (a mask at the middle block, Eq. 5).
        mask_encoder: Encoder of that mask, see :mod:`mmseg_cicld.models.diffusion.mask_encoder`.
        training: Arguments of :class:`TrainingSettings`.
        inference: Arguments of :class:`InferenceSettings`.
        for_training: False leaves out what predictions do not need, as exported networks do: the latent of the label
            map, a mask encoder without ``inference.condition='prediction'``, a denoiser that is bypassed.
        **kwargs: As for mmseg's ``BaseDecodeHead``, without ``channels``, which follow from the decoder.

    Raises:
        ValueError: If settings are unknown or contradict each other.
    """

    def __init__(self, *, in_channels: Sequence[int], decoder_channels: Sequence[int], denoiser: dict | None = None,
                 scheduler: dict | None = None, diffused: str = 'image', condition: str = 'none',
                 mask_encoder: dict | None = None, training: dict | None = None, inference: dict | None = None,
                 for_training: bool = True, norm_cfg: dict | None = None, act_cfg: dict | None = None,
                 **kwargs) -> None:
        *skips, latent = in_channels
        act_cfg = act_cfg or dict(type='ReLU')
        decoder = InterCoderDecoder(latent, skips, decoder_channels, norm_cfg, act_cfg)
        kwargs.setdefault('in_index', list(range(len(in_channels))))
        super().__init__(in_channels=list(in_channels), channels=decoder.widths[-1], norm_cfg=norm_cfg, act_cfg=act_cfg,
                         **{**kwargs, 'input_transform': 'multiple_select'})
        self.latent_channels, self.decoder = latent, decoder
        self.inference = build_settings(InferenceSettings, inference, 'decode_head.inference')
        self.training_settings = build_settings(TrainingSettings, training, 'decode_head.training')
        self.diffused, self.for_training = diffused, for_training
        self.denoiser: Denoiser | None = None
        self.mask_encoder = None
        one_of('diffused', diffused, ('image', 'label'))
        if denoiser is not None and (for_training or self.inference.steps):
            self._add_diffusion(denoiser, scheduler, condition, mask_encoder)
        else:  # the other keys may stay where they are, but none may be misspelled
            check_condition(condition)

    def _add_diffusion(self, denoiser: dict, scheduler: dict | None, condition: str, mask_encoder: dict | None) -> None:
        self.denoiser = Denoiser(denoiser, self.latent_channels, self.latent_channels, condition)
        self.scheduler = build_scheduler(scheduler or {})
        self.noising = Noising(self.scheduler)
        check_settings(self.diffused, condition, mask_encoder, self.inference, self.training_settings)
        self._schedule_predictions()
        if self.diffused == 'label' and self.for_training:
            self.label_latent = LabelLatent(self.num_classes, self.latent_channels, self.ignore_index)
        if mask_encoder is not None and (self.for_training or self.inference.condition == 'prediction'):
            self.mask_encoder = MODELS.build(dict(
                mask_encoder, num_classes=self.num_classes, ignore_index=self.ignore_index,
                channels=self.denoiser.middle_channels))

    def _schedule_predictions(self) -> None:
        last, start = len(self.noising) - 1, self.inference.start
        self.start = last if start is None else start
        if not 0 <= self.start <= last:
            raise ValueError(f'decode_head.inference.start is {start}, allowed are None and 0 to {last}, the timesteps '
                             'of decode_head.scheduler')
        if self.diffused == 'label' and self.start < last:
            raise ValueError(f"decode_head.inference.start is {start}, but with diffused='label' predictions start "
                             f'from noise alone, and only the last timestep, {last}, is that: set '
                             'decode_head.inference.start=None')
        self._reverse_processes: dict[tuple[int, int], ReverseProcess] = {}
        for steps in (self.inference.steps, self.training_settings.prediction_steps):
            if steps:
                self._reverse_process(steps)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Predicts, in training mode too (a teacher stays in it).

        Args:
            inputs: What the neck gives.

        Returns:
            Logits [B, num_classes, H, W] at the resolution of the last decoder stage.
        """
        skips, latent_BChw = self.split(inputs)
        if self.denoiser is None or self.steps == 0:
            return self.decode(latent_BChw, skips)
        tokens_BMC = None
        if self.inference.condition == 'prediction':
            tokens_BMC = self._encode_masks(self._logits(latent_BChw, skips, None).argmax(dim=1), latent_BChw)
        return self._logits(latent_BChw, skips, tokens_BMC)

    @property
    def steps(self) -> int:
        """Steps of a prediction in the mode that the head is in."""
        in_training = self.training_settings.prediction_steps
        return in_training if self.training and in_training is not None else self.inference.steps

    @staticmethod
    def attention_config(config: dict, width: int) -> dict:
        """Returns the config of a head of this kind for the scale attention of HRDA, in which nothing is diffused."""
        return dict(config, denoiser=None, decoder_channels=[width] * len(config['decoder_channels']))

    def split(self, inputs: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Splits what the neck gives into the skips, finest first, and the latent.

        Raises:
            ValueError: If the neck gives other features than ``in_channels`` says.
        """
        # mmseg picks by index: of too many features, it would take a skip of the right width for the latent.
        given = self._transform_inputs(inputs) if len(inputs) == len(self.in_channels) else inputs
        found = [feature.shape[1] for feature in given]
        if found != self.in_channels:
            raise ValueError(
                f'the neck gives features of {found} channels, but decode_head.in_channels is {self.in_channels}: set '
                'decode_head.in_channels to [*neck.skip_channels, neck.latent_channels], or with neck.connect=False to '
                '[neck.latent_channels]')
        *skips, latent_BChw = given
        # The differences of many steps are too small for half precision.
        return skips, full_precision(latent_BChw)

    def decode(self, latent_BChw: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Returns the logits of a latent."""
        return self.cls_seg(self.decoder(latent_BChw, skips))

    def parts_to_compile(self) -> list[nn.Module]:
        """Returns what is worth a compiler; around it there are draws, and a scheduler that branches on its state."""
        return [self.decoder] if self.denoiser is None else [self.decoder, self.denoiser.unet]

    def trajectory(self, latent_BChw: Tensor, tokens_BMC: Tensor | None = None,
                   seed: int | None = None) -> Iterator[Tensor]:
        """Yields the latent after each inference step.

        Args:
            latent_BChw: Latent of the image.
            tokens_BMC: Condition tokens, None for the null condition.
            seed: Seed of the noise, ``inference.seed`` if None.
        """
        seed = self.inference.seed if seed is None else seed
        noise_BChw = torch.zeros_like(latent_BChw)
        if self.inference.noise == 'keyed':
            generator = torch.Generator().manual_seed(seed)
            noise_BChw += torch.randn(tuple(latent_BChw.shape[1:]), generator=generator).to(latent_BChw.device)
        begin_BChw = latent_BChw if self.diffused == 'image' else torch.zeros_like(latent_BChw)
        yield from self._reverse_process(self.steps).latents(
            lambda noisy_BChw, times_B: self.denoiser(noisy_BChw, times_B, latent_BChw, tokens_BMC),
            begin_BChw, noise_BChw, KeyedStreams(seed).integer('reverse_steps'))

    def _reverse_process(self, steps: int) -> ReverseProcess:
        # Cutting a schedule takes as long as a small denoiser.
        if (steps, self.start) not in self._reverse_processes:
            self._reverse_processes[steps, self.start] = _build_process(self.scheduler, steps, self.start)
        return self._reverse_processes[steps, self.start]

    @property
    def denoising_head(self) -> LatentDiffusionHead:
        """The head that denoises latents: this one. A head that holds it gives it under the same name."""
        return self

    def loss(self, inputs: Sequence[Tensor], batch_data_samples: Sequence[SegDataSample],
             train_cfg: dict | None) -> dict[str, Tensor]:
        """Computes the losses as mmseg asks for them; timesteps and noise come from torch's global stream.

        Args:
            inputs: What the neck gives.
            batch_data_samples: Samples with labels.
            train_cfg: Unused, as in mmseg.
        """
        return self.training_losses(inputs, self._stack_batch_gt(batch_data_samples)[:, 0], None, None)[0]

    def training_losses(self, inputs: Sequence[Tensor], labels_BHW: Tensor, weights_BHW: Tensor | None,
                     seeds: Sequence[int] | None, adjust: AdjustLogits | None = None) -> tuple[dict[str, Tensor], Tensor]:
        """Computes the segmentation losses of the decoder and the noise loss of the denoiser.

        Args:
            inputs: What the neck gives.
            labels_BHW: int64 class ids.
            weights_BHW: Loss weight of each pixel in [0, 1], None weighs all one. The noise loss has no pixels.
            seeds: A seed for each sample, None to draw from torch's global stream.
            adjust: Maps the logits, at the resolution of the labels, to those that the segmentation losses see.

        Returns:
            The losses, and the logits at the resolution of the labels.
        """
        logits, own = self.training_logits(inputs, labels_BHW, seeds)
        logits_BCHW = resize(logits, size=tuple(labels_BHW.shape[1:]), mode='bilinear',
                             align_corners=self.align_corners)
        return {**pixel_losses(self, logits_BCHW, labels_BHW, weights_BHW, adjust), **own}, logits_BCHW

    def training_logits(self, inputs: Sequence[Tensor], labels_BHW: Tensor,
                        seeds: Sequence[int] | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Runs a training forward from one timestep a sample.

        Args:
            inputs: What the neck gives.
            labels_BHW: int64 class ids, for masks that enter the network.
            seeds: A seed for each sample, None to draw from torch's global stream.

        Returns:
            Logits of the decoder, and the losses beside that of the segmentation (``loss_noise``).
        """
        if not self.for_training:
            raise ValueError('this LatentDiffusionHead lacks the parts that only training needs: set '
                             'decode_head.for_training=True')
        skips, latent_BChw = self.split(inputs)
        if self.denoiser is None:
            return self.decode(latent_BChw, skips), {}
        settings, draws = self.training_settings, self._draw(latent_BChw, seeds)
        masks_BHW = labels_BHW
        if settings.masks == 'predictions' and self._uses_masks:
            masks_BHW = self._own_masks(latent_BChw, skips, draws)
        clean_BChw, tokens_BMC = self._clean(latent_BChw, masks_BHW), self._tokens(masks_BHW, latent_BChw, draws)
        losses = {}
        if settings.noise_loss_weight:
            denoised = self._denoise(clean_BChw.detach(), latent_BChw.detach(), draws, tokens_BMC)
            target_BChw = self.noising.target(clean_BChw.detach(), draws.noise_BChw, draws.steps_B)
            losses['loss_noise'] = settings.noise_loss_weight * F.mse_loss(denoised.prediction_BChw, target_BChw)
        if settings.decoder_input == 'latent':
            return self.decode(latent_BChw, skips), losses
        # The noise loss reaches the denoiser and not the latent, the segmentation loss the other way round: two passes.
        denoised = self._denoise(clean_BChw, latent_BChw, draws, tokens_BMC, frozen=not settings.denoiser_learns_task)
        return self.decode(self._estimate(denoised, draws), skips), losses

    def estimate(self, latent_BChw: Tensor, seeds: Sequence[int] | None,
                 labels_BHW: Tensor | None = None, task: int = 0) -> LatentEstimate:
        """Noises and denoises latents at one timestep a sample, with gradients for the denoiser's parameters.

        Args:
            latent_BChw: Latents of images, the neck's last output.
            seeds: A seed for each sample, None to draw from torch's global stream.
            labels_BHW: int64 class ids. Without them masks are not seen (null condition), and if labels are diffused,
                the head's own estimate takes their place.
            task: Task of a denoiser with a switch, 0 is what is decoded.

        Raises:
            ValueError: If the head has no denoiser.
        """
        if self.denoiser is None:
            raise ValueError('this LatentDiffusionHead has no denoiser: set decode_head.denoiser and '
                             'decode_head.scheduler')
        latent_BChw = full_precision(latent_BChw)
        draws, tokens_BMC = self._draw(latent_BChw, seeds), None
        if labels_BHW is not None:
            clean_BChw, tokens_BMC = self._clean(latent_BChw, labels_BHW), self._tokens(labels_BHW, latent_BChw, draws)
        elif self.diffused == 'label':
            clean_BChw = self._from_noise(latent_BChw, draws)
        else:
            clean_BChw = latent_BChw
        denoised = self._denoise(clean_BChw, latent_BChw, draws, tokens_BMC, task=task)
        noise_BChw = self.noising.noise(denoised.prediction_BChw, denoised.noisy_BChw, draws.steps_B)
        return LatentEstimate(self._estimate(denoised, draws), noise_BChw, draws.noise_BChw, draws.steps_B)

    @property
    def _uses_masks(self) -> bool:
        return self.diffused == 'label' or self.denoiser.condition == 'mask_attention'

    def _draw(self, latent_BChw: Tensor, seeds: Sequence[int] | None) -> Draws:
        draws = self.noising.draw(seeds, latent_BChw.shape, self.start)
        if self.training_settings.timesteps == 'start':
            draws = draws._replace(steps_B=torch.full_like(draws.steps_B, self.start))
        if self.training_settings.noise == 'zero':
            draws = draws._replace(noise_BChw=torch.zeros_like(draws.noise_BChw))
        return draws._replace(noise_BChw=draws.noise_BChw.to(latent_BChw.dtype))

    def _clean(self, latent_BChw: Tensor, masks_BHW: Tensor) -> Tensor:
        if self.diffused == 'image':
            return latent_BChw
        return self.label_latent(masks_BHW, tuple(latent_BChw.shape[2:])).to(latent_BChw.dtype)

    def _encode_masks(self, masks_BHW: Tensor, latent_BChw: Tensor) -> Tensor:
        return self.mask_encoder(masks_BHW, self.denoiser.middle_size(latent_BChw))

    def _tokens(self, masks_BHW: Tensor, latent_BChw: Tensor, draws: Draws) -> Tensor | None:
        if self.denoiser.condition != 'mask_attention':
            return None
        kept_B11 = (draws.coins_B >= self.training_settings.condition_dropout)[:, None, None]
        return self._encode_masks(masks_BHW, latent_BChw) * kept_B11

    def _denoise(self, clean_BChw: Tensor, image_BChw: Tensor, draws: Draws, tokens_BMC: Tensor | None,
                 frozen: bool = False, task: int = 0) -> _Denoised:
        noisy_BChw = self.noising.noisy(clean_BChw, draws.noise_BChw, draws.steps_B)
        arguments = (noisy_BChw, self.noising.times(draws.steps_B), image_BChw, tokens_BMC, task)
        if frozen:
            constants = {name: parameter.detach() for name, parameter in self.denoiser.named_parameters()}
            return _Denoised(noisy_BChw, functional_call(self.denoiser, constants, arguments))
        return _Denoised(noisy_BChw, self.denoiser(*arguments))

    def _estimate(self, denoised: _Denoised, draws: Draws) -> Tensor:
        return self.noising.clean(denoised.prediction_BChw, denoised.noisy_BChw, draws.steps_B)

    @torch.no_grad()
    def _from_noise(self, latent_BChw: Tensor, draws: Draws) -> Tensor:
        """Returns the latent of the label map as the denoiser sees it in noise alone, in one step."""
        draws = draws._replace(steps_B=torch.full_like(draws.steps_B, self.start))
        return self._estimate(self._denoise(torch.zeros_like(latent_BChw), latent_BChw, draws, None), draws)

    @torch.no_grad()
    def _own_masks(self, latent_BChw: Tensor, skips: Sequence[Tensor], draws: Draws) -> Tensor:
        """Returns the label map that the head itself predicts in one step, at the resolution of its logits."""
        if self.diffused == 'label':
            estimate_BChw = self._from_noise(latent_BChw, draws)
        else:
            estimate_BChw = self._estimate(self._denoise(latent_BChw, latent_BChw, draws, None), draws)
        return self.decode(estimate_BChw, skips).argmax(dim=1)

    def _logits(self, latent_BChw: Tensor, skips: Sequence[Tensor], tokens_BMC: Tensor | None) -> Tensor:
        members = []
        for index in range(self.inference.ensemble):
            with constant_draws():
                *_, denoised_BChw = self.trajectory(latent_BChw, tokens_BMC, self.inference.seed + index)
            members.append(self.decode(denoised_BChw, skips))
        if len(members) == 1:
            return members[0]
        return torch.stack(members).log_softmax(dim=2).logsumexp(dim=0) - math.log(len(members))


def _build_process(scheduler: SchedulerMixin, steps: int, start: int) -> ReverseProcess:
    problem = (f'a prediction in {steps} steps (decode_head.inference.steps or, of a teacher, '
               f'decode_head.training.prediction_steps) does not fit decode_head.inference.start={start}')
    if steps > start + 1:
        raise ValueError(f'{problem}, which leaves {start + 1} timesteps: lower the steps or raise the start')
    try:
        return ReverseProcess(scheduler, steps, start)
    except (AssertionError, IndexError, ValueError) as error:
        raise ValueError(f'{problem} and the {type(scheduler).__name__} of decode_head.scheduler: {error}') from error
