"""Trains a part of a student and leaves the rest as it is."""
from collections.abc import Sequence

from torch import nn


def freeze_all_but(student: nn.Module, parts: Sequence[str]) -> list[nn.Module]:
    """Takes the gradients from all parameters outside of the named parts.

    Args:
        student: A segmentor.
        parts: Names of its modules or parameters, such as ``'decode_head.denoiser'``.

    Returns:
        The modules with nothing to train in them. Keep them in evaluation mode: batch norms would change else.

    Raises:
        ValueError: If a name is none of the student's.
    """
    names = [name for name, _ in student.named_parameters()]
    unknown = [part for part in parts if not any(_inside(name, part) for name in names)]
    if unknown or not parts:
        there = sorted({'.'.join(name.split('.')[:2]) for name in names})
        raise ValueError(f'model.train_only={list(parts)}: the segmentor has no parameters called {unknown}; its parts '
                         f'are {there}')
    for name, parameter in student.named_parameters():
        parameter.requires_grad_(any(_inside(name, part) for part in parts))
    return [module for name, module in student.named_modules()
            if name and not any(_inside(name, part) or _inside(part, name) for part in parts)]


def _inside(name: str, part: str) -> bool:
    return f'{name}.'.startswith(f'{part}.')
