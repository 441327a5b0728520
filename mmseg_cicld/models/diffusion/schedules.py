"""How much of an image is left after each level of a diffusion process."""
import torch
from torch import Tensor

SCHEDULES = ('sigmoid', 'cosine', 'linear')


def alpha_bars(steps: int, schedule: str) -> Tensor:
    """Returns the share of the clean image's variance that is left at each level (alpha bar in the papers).

    ``'sigmoid'`` follows a sigmoid from -3 to 3 (Jabri et al., 2022), which diffusers does not have: its schedule of
    that name makes the noise of a step sigmoid, not what is left. ``'cosine'`` and ``'linear'`` are those of
    diffusers; the linear one goes from 0.0001 to 0.02 for 1000 steps and in proportion for fewer.

    Args:
        steps: Number T of levels, 100 in DiDA.
        schedule: One of :data:`SCHEDULES`.

    Returns:
        float64 [T], decreasing in (0, 1).

    Raises:
        ValueError: If the schedule is unknown or has no room for its noise in so few steps.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule='{schedule}' of the degradation, allowed are {SCHEDULES}")
    if steps < 1:
        raise ValueError(f'steps={steps} of the degradation, allowed are numbers from 1 on')
    from diffusers import DDPMScheduler  # loads on use, see models/__init__.py
    if schedule == 'sigmoid':
        scheduler = DDPMScheduler(steps, trained_betas=_sigmoid_betas(steps).numpy())
    elif schedule == 'cosine':
        scheduler = DDPMScheduler(steps, beta_schedule='squaredcos_cap_v2')
    else:
        if steps <= 20:
            raise ValueError(f"schedule='linear' with steps={steps} would have to add more noise than there can be: "
                             "take more than 20 steps or schedule='sigmoid'")
        scheduler = DDPMScheduler(steps, beta_schedule='linear', beta_start=0.1 / steps, beta_end=20 / steps)
    return scheduler.alphas_cumprod.double()


def _sigmoid_betas(steps: int, start: float = -3.0, end: float = 3.0) -> Tensor:
    falling = torch.sigmoid(-torch.linspace(start, end, steps + 1, dtype=torch.float64))
    left = (falling - falling[-1]) / (falling[0] - falling[-1])
    return (1 - left[1:] / left[:-1]).clamp(0, 0.999)
