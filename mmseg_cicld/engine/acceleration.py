"""Switches that make training faster and leave names and numbers as they are."""
from collections.abc import Iterator, Mapping
from typing import Any

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


def refuse_smaller_crops(cfg: Mapping[str, Any]) -> None:
    """Refuses ``channels_last`` for crops that the preprocessor would pad: the process can end without a message.

    Args:
        cfg: The whole config of a training.

    Raises:
        ValueError: If a crop of the training pipelines is lower or narrower than the data preprocessor's size.
    """
    model = cfg.get('model') or {}
    sizes = [part['data_preprocessor'].get('size') for part in (model, model.get('segmentor') or {})
             if isinstance(part.get('data_preprocessor'), Mapping)]
    for height, width in filter(None, sizes):
        for crop in _crop_sizes(cfg.get('train_dataloader')):
            if crop[0] < height or crop[1] < width:
                raise ValueError(f'channels_last=True with crops of {crop[0]} x {crop[1]}, which the data_preprocessor '
                                 f'pads to {height} x {width}, can end the process: set model.segmentor.'
                                 f'data_preprocessor.size={crop}, or channels_last=False')


def _crop_sizes(part: Any) -> Iterator[tuple[int, int]]:
    if isinstance(part, Mapping):
        if 'RandomCrop' in str(part.get('type')) and part.get('crop_size'):
            size = part['crop_size']
            yield (size, size) if isinstance(size, int) else tuple(size)
        part = list(part.values())
    if isinstance(part, (list, tuple)):
        for inner in part:
            yield from _crop_sizes(inner)
