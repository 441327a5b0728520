"""Switches that make training faster and leave names and numbers as they are."""
from collections.abc import Iterator

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors.base import BaseSegmentor
from torch import nn

_PARTS = ('backbone', 'neck', 'decode_head', 'auxiliary_head')


def compile_segmentors(model: nn.Module, **options) -> int:
    """Compiles backbone, neck and heads of every mmseg segmentor in a model, in place.

    The whole training step cannot be compiled: it holds the optimiser, several backward passes, and losses with
    data-dependent branches. Names in the state dict stay.

    Args:
        model: The model; may be wrapped, or hold several segmentors such as student and teacher.
        **options: Arguments of ``torch.compile``.

    Returns:
        Number of compiled modules.

    Raises:
        ValueError: If there is no segmentor.
    """
    modules = list(_parts(model))
    if not modules:
        raise ValueError('compile is set in the config, but the model holds no mmseg segmentor: set compile=None')
    for module in modules:
        # Heads call their own forward() directly, past the hook of nn.Module.compile().
        module.forward = torch.compile(module.forward, **options)
    return len(modules)


def _parts(model: nn.Module) -> Iterator[nn.Module]:
    for segmentor in model.modules():
        if isinstance(segmentor, BaseSegmentor):
            parts = (getattr(segmentor, name, None) for name in _PARTS)
            for part in parts:
                for module in part if isinstance(part, nn.ModuleList) else [part]:
                    yield from () if module is None else _compiled(module)


def _compiled(module: nn.Module) -> list[nn.Module]:
    if hasattr(module, 'parts_to_compile'):
        return module.parts_to_compile()
    # A head that holds other heads calls those; its own forward pass only puts them together.
    inner = [child for child in module.modules() if isinstance(child, BaseDecodeHead) and child is not module]
    return [part for child in inner for part in _compiled(child)] or [module]
