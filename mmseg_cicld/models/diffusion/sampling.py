"""The reverse process of diffusion: a diffusers scheduler drives the denoiser, always with the same draws.

Shape suffixes: B samples, C channels, h and w height and width.
"""
from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..export_tracing import unrecorded
from .noising import Noising

if TYPE_CHECKING:  # diffusers loads when a model with diffusion is built, see models/__init__.py
    from diffusers import SchedulerMixin

# Share of the noise that may be left after the last step; DEIS, PNDM, SA-Solver and TCD of diffusers leave more.
CLEAN = 1e-3
# Maps the latent that the denoiser sees and its timesteps [B] to what the denoiser predicts.
Predict = Callable[[Tensor, Tensor], Tensor]


class ReverseProcess:
    """Denoises a latent in a given number of steps.

    The last step gives the estimate of the clean latent, of schedulers too that would leave noise after it. A single step
    is that estimate and nothing else, so it needs no scheduler.

    Args:
        scheduler: A diffusers scheduler. It is copied, since its steps change it.
        steps: Number of steps, at least 1.
        start: Training timestep to start from; the schedule is cut there, so that the steps spread over what is left.

    Attributes:
        times: The timesteps [N] that the denoiser is told one after the other; some schedulers ask twice in a step.
    """

    def __init__(self, scheduler: SchedulerMixin, steps: int, start: int) -> None:
        self.steps, self.start = steps, start
        self._scheduler = _cut(scheduler, start)
        self._takes_generator = 'generator' in inspect.signature(scheduler.step).parameters
        # A schedule that the scheduler refuses fails here, not in the first prediction.
        self.times = self._ready_scheduler().timesteps
        self._noising = Noising(scheduler).at_times(self.times)
        self._leaves_noise = False
        self._leaves_noise = steps > 1 and self._noise_left() > CLEAN

    def latents(self, predict: Predict, begin_BChw: Tensor, noise_BChw: Tensor,
                seed: int | Sequence[int]) -> Iterator[Tensor]:
        """Yields the latent after each step; the last one is the result.

        Args:
            predict: The denoiser.
            begin_BChw: Latent that is noised to begin with, zeros to begin with noise alone.
            noise_BChw: Noise of variance one, or zeros.
            seed: What schedulers that add noise at each step draw from: one for every sample alike, or one for each.
                A sample's result does not depend on its batch. It must not be the seed of ``noise_BChw``: the first
                step would add that noise once more.
        """
        if self.steps == 1:
            noisy_BChw = self._noising.to(begin_BChw.device).noisy(begin_BChw, noise_BChw, self._place(0, begin_BChw))
            yield self._estimate(predict, noisy_BChw, 0)
            return
        scheduler = unrecorded(self._ready_scheduler)
        latent_BChw, options = _noised(scheduler, begin_BChw, noise_BChw), self._generators(seed, len(begin_BChw))
        for number, time in enumerate(scheduler.timesteps):
            seen_BChw = latent_BChw
            if hasattr(scheduler, 'scale_model_input'):
                seen_BChw = scheduler.scale_model_input(latent_BChw, time)
            if self._leaves_noise and number == len(scheduler.timesteps) - 1:
                yield self._estimate(predict, seen_BChw, number)
                return
            prediction_BChw = predict(seen_BChw, self._told(number, begin_BChw)).to(latent_BChw.dtype)
            latent_BChw = scheduler.step(prediction_BChw, time, latent_BChw, **options).prev_sample
            latent_BChw = latent_BChw.to(begin_BChw.dtype)
            yield latent_BChw

    def _estimate(self, predict: Predict, noisy_BChw: Tensor, number: int) -> Tensor:
        """Returns the clean latent as the denoiser sees it in the noisy one of an evaluation."""
        prediction_BChw = predict(noisy_BChw, self._told(number, noisy_BChw)).to(noisy_BChw.dtype)
        return self._noising.to(noisy_BChw.device).clean(prediction_BChw, noisy_BChw, self._place(number, noisy_BChw))

    def _told(self, number: int, like_BChw: Tensor) -> Tensor:
        return self.times[number].expand(len(like_BChw)).to(like_BChw.device, non_blocking=True)

    @staticmethod
    def _place(number: int, like_BChw: Tensor) -> Tensor:
        return torch.full((len(like_BChw), ), number, device=like_BChw.device)

    def _generators(self, seed: int | Sequence[int], batch: int) -> dict[str, list[torch.Generator]]:
        if not self._takes_generator:
            return {}
        seeds = [seed] * batch if isinstance(seed, int) else seed
        return dict(generator=[torch.Generator().manual_seed(own) for own in seeds])

    def _noise_left(self) -> float:
        """Returns how much of the noise is left after all steps of a denoiser that knows it."""
        clean_BChw, noise_BChw = torch.zeros(1, 1, 1, 8), torch.ones(1, 1, 1, 8)
        told = iter(range(len(self.times)))

        def true(noisy_BChw: Tensor, times_B: Tensor) -> Tensor:
            place_B = self._place(next(told), noisy_BChw)
            _, noise = self._noising.levels(place_B, noisy_BChw)
            return self._noising.target(clean_BChw, noisy_BChw / noise, place_B)

        *_, left_BChw = self.latents(true, clean_BChw, noise_BChw, seed=0)
        return float(left_BChw.abs().max())

    def _ready_scheduler(self) -> SchedulerMixin:
        # Timesteps stay on the CPU: schedulers branch on them, and reading them from a GPU would wait for it.
        scheduler = copy.deepcopy(self._scheduler)
        if hasattr(scheduler, 'alphas_cumprod'):
            scheduler.set_timesteps(self.steps)
            return scheduler
        # Flow matching has no spacing to choose; these are trailing, where its own end next to zero.
        share = (self.start + 1) / scheduler.config.num_train_timesteps
        sigmas = [share * (self.steps - step) / self.steps for step in range(self.steps)]
        scheduler.set_timesteps(sigmas=sigmas)
        return scheduler


def _cut(scheduler: SchedulerMixin, start: int) -> SchedulerMixin:
    length = start + 1
    if length == scheduler.config.num_train_timesteps or not hasattr(scheduler, 'alphas_cumprod'):
        return scheduler
    changes = dict(num_train_timesteps=length, trained_betas=scheduler.betas[:length].tolist())
    if 'rescale_betas_zero_snr' in scheduler.config:  # these betas have been rescaled
        changes['rescale_betas_zero_snr'] = False
    return type(scheduler).from_config(scheduler.config, **changes)


def _noised(scheduler: SchedulerMixin, begin_BChw: Tensor, noise_BChw: Tensor) -> Tensor:
    # Schedulers differ in the scale of their latents, so the scheduler itself noises.
    time = scheduler.timesteps[:1]
    if hasattr(scheduler, 'add_noise'):
        return scheduler.add_noise(begin_BChw, noise_BChw, time)
    return scheduler.scale_noise(begin_BChw, time, noise_BChw)
