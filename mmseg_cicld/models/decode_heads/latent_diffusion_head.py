"""Segmentation from a denoised latent (CICLD, Yu et al., 2024, section 3).

Shape suffixes: B images, C channels, h and w size of the latent, H and W size of a label map, M condition tokens.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ...settings import build_settings
from ..diffusion.class_codes import LabelLatent
from ..diffusion.denoiser import Denoiser, check_condition
from ..diffusion.latent_schedule import LatentSchedule
from ..diffusion.noising import Noising
from ..export_tracing import constant_draws
from ..head_losses import AdjustLogits, pixel_losses
from ..precision import full_precision
from .inter_coder_decoder import InterCoderDecoder
from .latent_denoising import LatentDenoising, LatentEstimate
from .latent_diffusion_settings import InferenceSettings, TrainingSettings, check_settings, one_of

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
        check_settings(self.diffused, condition, mask_encoder, self.inference, self.training_settings)
        self.schedule = LatentSchedule(scheduler or {}, self.inference.start,
                                       (self.inference.steps, self.training_settings.prediction_steps))
        if self.diffused == 'label' and self.schedule.start < self.schedule.last:
            raise ValueError(f"decode_head.inference.start is {self.inference.start}, but with diffused='label' predictions "
                             f'start from noise alone, and only the last timestep, {self.schedule.last}, is that: set '
                             'decode_head.inference.start=None')
        if self.training_settings.correction and self.noising.prediction_type == 'epsilon':
            raise ValueError('decode_head.training.correction moves the clean latent, which no noise depends on: set '
                             "decode_head.scheduler.prediction_type='v_prediction' or 'sample'")
        if self.diffused == 'label' and self.for_training:
            self.label_latent = LabelLatent(self.num_classes, self.latent_channels, self.ignore_index,
                                            self.training_settings.class_codes)
        if mask_encoder is not None and (self.for_training or self.inference.condition == 'prediction'):
            self.mask_encoder = MODELS.build(dict(
                mask_encoder, num_classes=self.num_classes, ignore_index=self.ignore_index,
                channels=self.denoiser.middle_channels))

    @property
    def noising(self) -> Noising:
        """The forward process of the scheduler."""
        return self.schedule.noising

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
            first_BHW = self.decode(self._denoised(latent_BChw, None), skips).argmax(dim=1)
            tokens_BMC = self.mask_encoder(first_BHW, self.denoiser.middle_size(latent_BChw))
        return self.decode(self._denoised(latent_BChw, tokens_BMC), skips)

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

    def trajectory(self, latent_BChw: Tensor, tokens_BMC: Tensor | None = None) -> Iterator[Tensor]:
        """Yields the latent after each inference step.

        Args:
            latent_BChw: Latent of the image.
            tokens_BMC: Condition tokens, None for the null condition.
        """
        begin_BChw = latent_BChw if self.diffused == 'image' else torch.zeros_like(latent_BChw)
        yield from self.schedule.trajectory(
            lambda noisy_BChw, times_B: self.denoiser(noisy_BChw, times_B, latent_BChw, tokens_BMC),
            begin_BChw, self.steps, self.inference.noise, self.inference.seed)

    def _denoised(self, latent_BChw: Tensor, tokens_BMC: Tensor | None) -> Tensor:
        with constant_draws():
            *_, denoised_BChw = self.trajectory(latent_BChw, tokens_BMC)
        return denoised_BChw

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
        settings, diffusion = self.training_settings, self._diffusion
        draws = diffusion.draw(latent_BChw, seeds)
        clean_BChw = diffusion.clean(latent_BChw, labels_BHW)
        tokens_BMC, losses = diffusion.tokens(labels_BHW, latent_BChw, draws), {}
        if settings.noise_loss_weight:
            losses['loss_noise'] = diffusion.noise_loss(clean_BChw, latent_BChw, draws, tokens_BMC, labels_BHW)
        if settings.decoder_input == 'latent':
            return self.decode(latent_BChw, skips), losses
        # The noise loss reaches the denoiser and not the latent, the segmentation loss the other way round: two passes.
        frozen = not settings.denoiser_learns_task
        denoised = diffusion.denoise(clean_BChw, latent_BChw, draws, tokens_BMC, frozen)
        return self.decode(diffusion.estimate(denoised, draws), skips), losses

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
        diffusion = self._diffusion
        draws, tokens_BMC = diffusion.draw(latent_BChw, seeds), None
        if labels_BHW is not None:
            clean_BChw = diffusion.clean(latent_BChw, labels_BHW)
            tokens_BMC = diffusion.tokens(labels_BHW, latent_BChw, draws)
        elif self.diffused == 'label':
            clean_BChw = diffusion.from_noise(latent_BChw, draws)
        else:
            clean_BChw = latent_BChw
        return diffusion.estimates(clean_BChw, latent_BChw, draws, tokens_BMC, task)

    @property
    def _diffusion(self) -> LatentDenoising:
        label_latent = self.label_latent if self.diffused == 'label' else None
        return LatentDenoising(self.denoiser, self.schedule, self.training_settings, label_latent, self.mask_encoder)
