"""Diffusers schedulers from config, chosen by name."""
from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # diffusers loads when a model with diffusion is built, see models/__init__.py
    from diffusers import SchedulerMixin

_FLOW = ('FlowMatchEulerDiscreteScheduler', )
# diffusers' own defaults are for pictures and many steps.
_DEFAULTS = dict(
    timestep_spacing='trailing',  # with few steps the other spacings start below the noisiest timestep
    clip_sample=False,  # a latent is not bounded by 1
    skip_prk_steps=True)  # PNDM: these take twelve evaluations before the first step


def available_schedulers() -> list[str]:
    """Returns the names of the diffusers schedulers that denoise a latent: those with betas, and flow matching."""
    import diffusers  # loads on use, see models/__init__.py
    return [name for name in dir(diffusers) if name.endswith('Scheduler') and _fits(name)]


def build_scheduler(config: dict, key: str = 'decode_head.scheduler') -> SchedulerMixin:
    """Builds a diffusers scheduler.

    Args:
        config: ``type``, a name of :func:`available_schedulers`, and the arguments of that class. Unless given,
            ``timestep_spacing='trailing'`` and ``clip_sample=False``, where the class has them.
        key: Where ``config`` stands, for errors.

    Raises:
        ValueError: If there is no such scheduler, or an argument does not fit it.
    """
    import diffusers  # loads on use, see models/__init__.py
    arguments = dict(config)
    name = arguments.pop('type', None)
    if not isinstance(name, str) or not hasattr(diffusers, name) or not _fits(name):
        raise ValueError(f'{key}.type is {name!r}; diffusers {diffusers.__version__} has these schedulers for a '
                         f'latent: {", ".join(available_schedulers())}')
    kind = getattr(diffusers, name)
    allowed = _arguments(kind)
    unknown = sorted(set(arguments) - allowed)
    if unknown:
        raise ValueError(f'{key}: {name} takes no {", ".join(unknown)}; it takes {", ".join(sorted(allowed))}')
    defaults = {name: value for name, value in _DEFAULTS.items() if name in allowed}
    try:
        return kind(**{**defaults, **arguments})
    except (NotImplementedError, ValueError) as error:
        raise ValueError(f'{key}: {name} refuses {arguments}: {error}') from error


def _fits(name: str) -> bool:
    import diffusers  # loads on use, see models/__init__.py
    kind = getattr(diffusers, name)
    if not inspect.isclass(kind) or not issubclass(kind, diffusers.SchedulerMixin) or 'Inverse' in name or 'CogVideo' in name:
        return False
    return name in _FLOW or ({'prediction_type', 'trained_betas'} <= _arguments(kind) and hasattr(kind, 'add_noise'))


def _arguments(kind: type) -> set[str]:
    return set(inspect.signature(kind).parameters) - {'args', 'kwargs'}
