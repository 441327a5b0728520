"""The forward process of diffusion, and what a denoiser's output says about the clean latent.

Every scheduler here noises as ``z_t = a_t z_0 + s_t eps`` (paper: Eq. 1 and 6, with a_t^2 + s_t^2 = 1; flow matching:
a_t + s_t = 1). Only the two tables differ, and they are read off the scheduler.

Shape suffixes: B samples, C channels, h and w height and width, T timesteps of training.
"""
from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:  # diffusers loads when a model with diffusion is built, see models/__init__.py
    from diffusers import SchedulerMixin

PREDICTION_TYPES = ('epsilon', 'sample', 'v_prediction', 'flow')


class Draws(NamedTuple):
    """What is random about one training forward: timesteps [B] (int64), noise [B, C, h, w], coins [B] in [0, 1)."""

    steps_B: Tensor
    noise_BChw: Tensor
    coins_B: Tensor


class Noising(nn.Module):
    """Adds noise, and turns what a denoiser predicts into an estimate of the clean latent or of the noise.

    Args:
        scheduler: A diffusers scheduler; its tables are copied, since its inference overwrites them.
        key: Where the scheduler stands in the config, for errors.

    Raises:
        ValueError: If the prediction type of the scheduler is none of :data:`PREDICTION_TYPES`, or cannot give the
            clean latent because the last timestep holds no signal.
    """

    def __init__(self, scheduler: SchedulerMixin, key: str = 'decode_head.scheduler') -> None:
        super().__init__()
        signal_T, noise_T, times_T, self.prediction_type = _tables(scheduler)
        if self.prediction_type not in PREDICTION_TYPES:
            raise ValueError(f'{key}.prediction_type is {self.prediction_type!r}, allowed are '
                             f'{PREDICTION_TYPES[:3]}; flow matching schedulers have none')
        if self.prediction_type == 'epsilon' and signal_T.min() == 0:
            raise ValueError(f'the last timestep of {key} holds no signal, and noise alone says nothing '
                             "of the latent: set prediction_type='v_prediction' or 'sample', or "
                             'rescale_betas_zero_snr=False')
        self.register_buffer('signal_T', signal_T, persistent=False)
        self.register_buffer('noise_T', noise_T, persistent=False)
        self.register_buffer('times_T', times_T, persistent=False)

    def __len__(self) -> int:
        """Number of training timesteps."""
        return len(self.signal_T)

    def noisy(self, clean_BChw: Tensor, noise_BChw: Tensor, steps_B: Tensor) -> Tensor:
        """Returns the latent at timesteps ``steps_B`` in [0, T)."""
        signal, noise = self.levels(steps_B, clean_BChw)
        return signal * clean_BChw + noise * noise_BChw

    def clean(self, prediction_BChw: Tensor, noisy_BChw: Tensor, steps_B: Tensor) -> Tensor:
        """Returns the estimate of the clean latent that a prediction stands for."""
        signal, noise = self.levels(steps_B, noisy_BChw)
        if self.prediction_type == 'epsilon':
            return (noisy_BChw - noise * prediction_BChw) / signal
        if self.prediction_type == 'sample':
            return prediction_BChw
        factor = signal if self.prediction_type == 'v_prediction' else 1
        return factor * noisy_BChw - noise * prediction_BChw

    def noise(self, prediction_BChw: Tensor, noisy_BChw: Tensor, steps_B: Tensor) -> Tensor:
        """Returns the estimate of the noise that a prediction stands for."""
        signal, noise = self.levels(steps_B, noisy_BChw)
        if self.prediction_type == 'epsilon':
            return prediction_BChw
        if self.prediction_type == 'sample':
            return (noisy_BChw - signal * prediction_BChw) / noise
        factor = noise if self.prediction_type == 'v_prediction' else 1
        return factor * noisy_BChw + signal * prediction_BChw

    def target(self, clean_BChw: Tensor, noise_BChw: Tensor, steps_B: Tensor) -> Tensor:
        """Returns what the denoiser should predict: the noise in Eq. 6, else what the prediction type says."""
        signal, noise = self.levels(steps_B, clean_BChw)
        if self.prediction_type == 'epsilon':
            return noise_BChw
        if self.prediction_type == 'sample':
            return clean_BChw
        if self.prediction_type == 'v_prediction':
            return signal * noise_BChw - noise * clean_BChw
        return noise_BChw - clean_BChw

    def at_times(self, times_N: Tensor) -> Noising:
        """Returns the same process with other tables: its step i is what the denoiser is told as ``times_N[i]``.

        Between timesteps of training, the ratio of noise to signal is interpolated geometrically, as diffusers does.
        """
        times_N = times_N.to(self.noise_T.device, torch.float64)
        if self.prediction_type == 'flow':
            noise_N = times_N / self.times_T[-1].double() * self.noise_T[-1]
            signal_N = 1 - noise_N
        else:
            ratio_T = (self.noise_T.double() / self.signal_T.double()).log()
            below_N = times_N.floor().long()
            between_N = torch.lerp(ratio_T[below_N], ratio_T[(below_N + 1).clamp(max=len(self) - 1)], times_N - below_N)
            ratio_N = torch.where(times_N == below_N, ratio_T[below_N], between_N)
            signal_N, noise_N = torch.sigmoid(-2 * ratio_N).sqrt(), torch.sigmoid(2 * ratio_N).sqrt()
        other = copy.deepcopy(self)
        other.signal_T, other.noise_T, other.times_T = signal_N.float(), noise_N.float(), times_N.float()
        return other

    def times(self, steps_B: Tensor) -> Tensor:
        """Returns the timesteps as the denoiser is told them."""
        return self.times_T[steps_B]

    def draw(self, seeds: Sequence[int] | None, shape_BChw: Sequence[int], last: int) -> Draws:
        """Draws for each sample on its own, so that a batch may be split over processes.

        Args:
            seeds: A seed for each sample; None draws from torch's global stream.
            shape_BChw: Shape of the latent.
            last: Noisiest timestep that may be drawn.
        """
        steps, noise, coins = [], [], []
        for index in range(shape_BChw[0]):
            generator = None if seeds is None else torch.Generator().manual_seed(seeds[index])
            steps.append(torch.randint(last + 1, (), generator=generator))
            noise.append(torch.randn(tuple(shape_BChw[1:]), generator=generator))
            coins.append(torch.rand((), generator=generator))
        like = self.signal_T
        return Draws(torch.stack(steps).to(like.device), torch.stack(noise).to(like), torch.stack(coins).to(like))

    def levels(self, steps_B: Tensor, like_BChw: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the shares of latent and noise at timesteps, [B, 1, 1, 1] each, of the dtype of ``like_BChw``."""
        return tuple(table_T[steps_B][:, None, None, None].to(like_BChw.dtype)
                     for table_T in (self.signal_T, self.noise_T))


def _tables(scheduler: SchedulerMixin) -> tuple[Tensor, Tensor, Tensor, str]:
    """Returns signal, noise and time of each training timestep, least noisy first, and the prediction type."""
    if hasattr(scheduler, 'alphas_cumprod'):
        share_T = scheduler.alphas_cumprod.double()
        return (share_T.sqrt().float(), (1 - share_T).sqrt().float(), torch.arange(len(share_T)),
                scheduler.config.prediction_type)
    # Flow matching: sigma is the share of noise; schedulers list the noisiest first, and some add a last zero.
    sigmas_T = scheduler.sigmas[scheduler.sigmas > 0].flip(0).float()
    return 1 - sigmas_T, sigmas_T, sigmas_T * scheduler.config.num_train_timesteps, 'flow'
