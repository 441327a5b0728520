"""Trains a part of a student and leaves the rest as it is."""
from collections.abc import Sequence

from torch import nn


def freeze_all_but(student: nn.Module, parts: Sequence[str]) -> None:
    """Takes the gradients from all parameters outside of the named parts; what was frozen inside of them stays so.

    Args:
        student: A segmentor.
        parts: Names of its modules or parameters, such as ``'decode_head.denoiser'``.

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
        if not any(_inside(name, part) for part in parts):
            parameter.requires_grad_(False)


def frozen_modules(network: nn.Module, parts: Sequence[str]) -> list[nn.Module]:
    """Returns the modules of a segmentor, student or teacher, with nothing to train in them.

    Keep them in evaluation mode: their batch norms would change else.
    """
    return [module for name, module in network.named_modules()
            if name and not any(_inside(name, part) or _inside(part, name) for part in parts)]


def _inside(name: str, part: str) -> bool:
    return f'{name}.'.startswith(f'{part}.')
