"""Timesteps and noise of a latent diffusion head, in training and in predictions.

Shape suffixes: B samples, C channels, h and w height and width of a latent.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...random_streams import KeyedStreams
from .diffusers_schedulers import build_scheduler
from .noising import Draws, Noising
from .sampling import Predict, ReverseProcess

if TYPE_CHECKING:  # diffusers loads when a model with diffusion is built, see models/__init__.py
    from diffusers import SchedulerMixin


class LatentSchedule(nn.Module):
    """A diffusers scheduler, cut at the timestep that predictions start from; training draws no noisier one either.

    Args:
        scheduler: Config of the scheduler, see :func:`build_scheduler`.
        start: Training timestep to start from, the noisiest if None.
        steps: Numbers of steps that will be asked for; 0 is none.

    Raises:
        ValueError: If a value does not fit the scheduler.
    """

    def __init__(self, scheduler: dict, start: int | None, steps: Sequence[int | None]) -> None:
        super().__init__()
        self.scheduler = build_scheduler(scheduler)
        self.noising = Noising(self.scheduler)
        self.last = len(self.noising) - 1
        self.start = self.last if start is None else start
        if not 0 <= self.start <= self.last:
            raise ValueError(f'decode_head.inference.start is {start}, allowed are None and 0 to {self.last}, the timesteps '
                             'of decode_head.scheduler')
        self._processes: dict[tuple[int, int], ReverseProcess] = {}
        for number in filter(None, steps):
            self.process(number)

    def process(self, steps: int) -> ReverseProcess:
        """Returns the reverse process of so many steps. Cutting a schedule takes as long as a small denoiser."""
        if (steps, self.start) not in self._processes:
            self._processes[steps, self.start] = _build_process(self.scheduler, steps, self.start)
        return self._processes[steps, self.start]

    def draw(self, shape_BChw: Sequence[int], seeds: Sequence[int] | None, timesteps: str, noise: str) -> Draws:
        """Draws for a training forward, as ``timesteps`` and ``noise`` of ``TrainingSettings`` say."""
        draws = self.noising.draw(seeds, shape_BChw, self.start)
        if timesteps == 'start':
            draws = draws._replace(steps_B=torch.full_like(draws.steps_B, self.start))
        if noise == 'zero':
            draws = draws._replace(noise_BChw=torch.zeros_like(draws.noise_BChw))
        return draws

    def trajectory(self, predict: Predict, begin_BChw: Tensor, steps: int, noise: str, seed: int) -> Iterator[Tensor]:
        """Yields the latent after each step of a prediction; each sample has the same noise, in whatever batch.

        Args:
            predict: The denoiser.
            begin_BChw: Latent that is noised to begin with.
            steps: Number of steps.
            noise: ``'keyed'``, drawn from the seed, or ``'zero'``.
            seed: Seed of the noise, and, in a stream of its own, of schedulers that add more.
        """
        noise_BChw = torch.zeros_like(begin_BChw)
        if noise == 'keyed':
            generator = torch.Generator().manual_seed(seed)
            noise_BChw += torch.randn(tuple(begin_BChw.shape[1:]), generator=generator).to(begin_BChw.device)
        yield from self.process(steps).latents(predict, begin_BChw, noise_BChw, KeyedStreams(seed).integer('reverse_steps'))


def _build_process(scheduler: SchedulerMixin, steps: int, start: int) -> ReverseProcess:
    problem = (f'a prediction in {steps} steps (decode_head.inference.steps or, of a teacher, '
               f'decode_head.training.prediction_steps) does not fit decode_head.inference.start={start}')
    if steps > start + 1:
        raise ValueError(f'{problem}, which leaves {start + 1} timesteps: lower the steps or raise the start')
    try:
        return ReverseProcess(scheduler, steps, start)
    except (AssertionError, IndexError, ValueError) as error:
        raise ValueError(f'{problem} and the {type(scheduler).__name__} of decode_head.scheduler: {error}') from error
