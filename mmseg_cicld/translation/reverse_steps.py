"""The way back from a noised image: its scheduler, its timesteps, and how far guidance moves each step.

Shape suffixes: N evaluations of the denoiser, noisiest first.
"""
from dataclasses import dataclass

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from ..models.diffusion.diffusers_schedulers import build_scheduler
from ..models.diffusion.noising import Noising
from ..models.diffusion.sampling import ReverseProcess

KEY = 'translation.scheduler'
# They follow from the training of the diffusion model.
_FIXED = ('num_train_timesteps', 'beta_start', 'beta_end', 'beta_schedule', 'trained_betas', 'prediction_type',
          'rescale_betas_zero_snr')
_DDPM_VARIANCES = ('fixed_small', 'fixed_large')


@dataclass(frozen=True)
class TranslationSettings:
    """How far an image is noised, and in how many steps the noise is removed.

    Args:
        level: Share of the training timesteps that noise it, in (0, 1]: the paper's n is ``level`` times their number.
        steps: Steps back, strided over those timesteps, at least 1 and at most their number.
        scheduler: ``type``, a diffusers scheduler, and what of its arguments shall not be the default (without those
            that follow from the training of the model). None is ``DDIMScheduler`` or, for a model trained with flow
            matching, ``FlowMatchEulerDiscreteScheduler``.

    Raises:
        ValueError: If a number is out of its range.
    """

    level: float = 0.5
    steps: int = 10
    scheduler: dict | None = None

    def __post_init__(self) -> None:
        if not 0 < self.level <= 1:
            raise ValueError(f'translation.level is {self.level}, allowed are numbers above 0 and up to 1')
        if self.steps < 1:
            raise ValueError(f'translation.steps is {self.steps}, allowed are whole numbers from 1 on')


class ReverseSteps:
    """Schedule of one translation.

    Guidance replaces the model's density p(x) by one proportional to p(x) exp(-s L(x)). The score then gains
    -s grad L, the predicted noise sqrt(1 - alpha_bar) s grad L, and the estimate of the clean image
    -(noise^2 / signal) s grad L, whatever the scheduler does with it. For DDPM the published form is taken: the mean
    of a step moves by -s Sigma grad L, with Sigma the variance of the step.

    Args:
        trained: Scheduler of the model's training.
        settings: What to do.

    Attributes:
        process: Runs the scheduler.
        noising: The levels of noise at the N evaluations, as its steps 0 to N - 1.
        strength_N: The estimate of the clean image moves by -strength times s grad L.

    Raises:
        ValueError: If the settings do not fit the model.
    """

    def __init__(self, trained: SchedulerMixin, settings: TranslationSettings) -> None:
        config = dict(settings.scheduler or {})
        scheduler = _scheduler(trained, config)
        variance_type = scheduler.config.get('variance_type')
        if type(scheduler).__name__ == 'DDPMScheduler' and variance_type not in _DDPM_VARIANCES:
            raise ValueError(f'{KEY}.variance_type is {variance_type!r}, allowed are {_DDPM_VARIANCES}')
        whole = Noising(trained, key='scheduler of the diffusion model')
        count = round(settings.level * len(whole))
        if settings.steps > count:
            raise ValueError(f'translation.steps is {settings.steps}, but level {settings.level} of the {len(whole)} '
                             f'timesteps of the diffusion model leaves {count}: lower steps, or raise level')
        try:
            self.process = ReverseProcess(scheduler, settings.steps, start=count - 1)
            self.noising = whole.at_times(self.process.times)
        except (AssertionError, ValueError) as error:
            raise ValueError(f'{KEY}: {type(scheduler).__name__} refuses translation.steps={settings.steps} with '
                             f'translation.level={settings.level}: {error}') from error
        if type(scheduler).__name__ == 'DDPMScheduler':
            self.strength_N = self._ddpm_strength(variance_type)
        else:
            self.strength_N = _finite(self.noising.noise_T**2 / self.noising.signal_T)

    def _ddpm_strength(self, variance_type: str) -> Tensor:
        if variance_type == 'fixed_large' and self.process.times[-1] > 0:
            raise ValueError(f"{KEY}.variance_type='fixed_large' leaves noise in the image where steps skip timesteps: "
                             "remove it ('fixed_small'), or set translation.steps to the number of noised timesteps")
        signal_N = self.noising.signal_T
        shares_N = signal_N.double()**2
        next_N = torch.cat([shares_N[1:], torch.ones_like(shares_N[:1])])
        beta_N = 1 - shares_N / next_N
        variance_N = beta_N * (1 if variance_type == 'fixed_large' else (1 - next_N) / (1 - shares_N))
        # The mean is weight times the estimate, plus what does not depend on it (Ho et al., 2020, Eq. 7).
        weight_N = next_N.sqrt() * beta_N / (1 - shares_N)
        return (variance_N / weight_N).float()


def _scheduler(trained: SchedulerMixin, config: dict) -> SchedulerMixin:
    flow = not hasattr(trained, 'alphas_cumprod')
    config.setdefault('type', 'FlowMatchEulerDiscreteScheduler' if flow else 'DDIMScheduler')
    fixed = sorted(set(config) & set(_FIXED))
    if fixed:
        raise ValueError(f'{KEY} sets {", ".join(fixed)}, which follow from the training of the diffusion model: '
                         'remove them')
    if config.get('clip_sample'):
        raise ValueError(f'{KEY} sets clip_sample, which would undo guidance at dark and bright places; translation '
                         'itself keeps estimates of images in [-1, 1]: remove it')
    # Checks the name; the betas come next, as not every scheduler knows every schedule.
    scheduler = build_scheduler(dict(config, num_train_timesteps=len(_steps(trained))), KEY)
    if flow != (not hasattr(scheduler, 'alphas_cumprod')):
        raise ValueError(f'{KEY}.type is {config["type"]!r}, but the diffusion model was trained with '
                         f'{type(trained).__name__}: flow matching and noise schedules exclude each other')
    if flow:
        return scheduler
    arguments = dict(trained_betas=trained.betas.tolist(), prediction_type=trained.config.prediction_type)
    if 'rescale_betas_zero_snr' in scheduler.config:  # these betas have been rescaled, which once more keeps them
        arguments['rescale_betas_zero_snr'] = trained.config.get('rescale_betas_zero_snr', False)
    return build_scheduler({**config, **arguments, 'num_train_timesteps': len(_steps(trained))}, KEY)


def _steps(trained: SchedulerMixin) -> range:
    return range(trained.config.num_train_timesteps)


def _finite(strength_N: Tensor) -> Tensor:
    # Without signal the estimate does not depend on the sample, so there is nothing that guidance could move.
    return torch.where(strength_N.isfinite(), strength_N, 0)
