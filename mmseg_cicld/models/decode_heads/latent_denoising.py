"""One training forward through the denoiser of a latent diffusion head: noise at one timestep a sample, and estimates.

Shape suffixes: B images, C channels, h and w size of the latent, H and W size of a label map, M condition tokens.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..diffusion.class_codes import LabelLatent
from ..diffusion.denoiser import Denoiser
from ..diffusion.latent_schedule import LatentSchedule
from ..diffusion.noising import Draws
from .latent_diffusion_settings import TrainingSettings


class LatentEstimate(NamedTuple):
    """Estimates of the clean latent and of the noise, the noise that it was, and the timesteps [B]."""

    clean_BChw: Tensor
    noise_BChw: Tensor
    true_noise_BChw: Tensor
    timesteps_B: Tensor


class Denoised(NamedTuple):
    """A noisy latent, and what the denoiser predicts of it."""

    noisy_BChw: Tensor
    prediction_BChw: Tensor


@dataclass(frozen=True)
class LatentDenoising:
    """What a training forward does with latents of images.

    Args:
        denoiser: The denoiser.
        schedule: Its timesteps.
        settings: How it is trained.
        label_latent: What is diffused instead of the latent of the image, None for that one.
        mask_encoder: Encoder of the mask that the denoiser sees, if it sees one.
    """

    denoiser: Denoiser
    schedule: LatentSchedule
    settings: TrainingSettings
    label_latent: LabelLatent | None
    mask_encoder: nn.Module | None

    def draw(self, latent_BChw: Tensor, seeds: Sequence[int] | None) -> Draws:
        """Draws timesteps, noise and coins, from a seed for each sample or, with None, from torch's global stream."""
        draws = self.schedule.draw(latent_BChw.shape, seeds, self.settings.timesteps, self.settings.noise)
        return draws._replace(noise_BChw=draws.noise_BChw.to(latent_BChw.dtype))

    def clean(self, latent_BChw: Tensor, labels_BHW: Tensor) -> Tensor:
        """Returns what noise is added to: the latent of the image, or of its labels."""
        if self.label_latent is None:
            return latent_BChw
        return self.label_latent(labels_BHW, tuple(latent_BChw.shape[2:])).to(latent_BChw.dtype)

    def tokens(self, labels_BHW: Tensor, latent_BChw: Tensor, draws: Draws) -> Tensor | None:
        """Returns the condition tokens of labels, zero for samples that drop them; None for another condition."""
        if self.denoiser.condition != 'mask_attention':
            return None
        kept_B11 = (draws.coins_B >= self.settings.condition_dropout)[:, None, None]
        return self.mask_encoder(labels_BHW, self.denoiser.middle_size(latent_BChw)) * kept_B11

    def denoise(self, clean_BChw: Tensor, image_BChw: Tensor, draws: Draws, tokens_BMC: Tensor | None,
                frozen: bool = False, task: int = 0) -> Denoised:
        """Noises a clean latent and denoises it; with ``frozen``, gradients pass through the denoiser and leave it."""
        noisy_BChw = self.schedule.noising.noisy(clean_BChw, draws.noise_BChw, draws.steps_B)
        arguments = (noisy_BChw, self.schedule.noising.times(draws.steps_B), image_BChw, tokens_BMC, task)
        if frozen:
            constants = {name: parameter.detach() for name, parameter in self.denoiser.named_parameters()}
            return Denoised(noisy_BChw, functional_call(self.denoiser, constants, arguments))
        return Denoised(noisy_BChw, self.denoiser(*arguments))

    def estimate(self, denoised: Denoised, draws: Draws) -> Tensor:
        """Returns the estimate of the clean latent."""
        return self.schedule.noising.clean(denoised.prediction_BChw, denoised.noisy_BChw, draws.steps_B)

    def estimates(self, clean_BChw: Tensor, image_BChw: Tensor, draws: Draws, tokens_BMC: Tensor | None,
                  task: int) -> LatentEstimate:
        """Returns the estimates of latent and noise, with what they should be."""
        denoised = self.denoise(clean_BChw, image_BChw, draws, tokens_BMC, task=task)
        noise_BChw = self.schedule.noising.noise(denoised.prediction_BChw, denoised.noisy_BChw, draws.steps_B)
        return LatentEstimate(self.estimate(denoised, draws), noise_BChw, draws.noise_BChw, draws.steps_B)

    @torch.no_grad()
    def from_noise(self, latent_BChw: Tensor, draws: Draws) -> Tensor:
        """Returns the latent of the label map as the denoiser sees it in noise alone, in one step."""
        draws = draws._replace(steps_B=torch.full_like(draws.steps_B, self.schedule.start))
        return self.estimate(self.denoise(torch.zeros_like(latent_BChw), latent_BChw, draws, None), draws)

    def noise_loss(self, clean_BChw: Tensor, image_BChw: Tensor, draws: Draws, tokens_BMC: Tensor | None,
                   labels_BHW: Tensor) -> Tensor:
        """Returns the noise loss (Eq. 6), which reaches the denoiser and the encoder of masks alone.

        With a correction (:func:`distance_aware_correction`), the target is that of the corrected clean latent.
        """
        clean_BChw = clean_BChw.detach()
        denoised = self.denoise(clean_BChw, image_BChw.detach(), draws, tokens_BMC)
        if self.settings.correction:
            clean_BChw = clean_BChw + self.settings.correction * self.label_latent.correction(
                self.estimate(denoised, draws), clean_BChw, labels_BHW)
        target_BChw = self.schedule.noising.target(clean_BChw, draws.noise_BChw, draws.steps_B)
        return self.settings.noise_loss_weight * F.mse_loss(denoised.prediction_BChw, target_BChw)
