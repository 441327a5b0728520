"""Layer-wise learning rates for backbones of the transformers library, alone or inside an adapter."""
from collections.abc import Mapping

from torch import nn

from ..models import TransformersBackbone

ADDED = 'backbone.added.'  # what learns beside a backbone is called so


def transformer_of(segmentor: nn.Module) -> TransformersBackbone | None:
    """Returns the network of the transformers library in the backbone of a segmentor, None if there is none."""
    backbone = getattr(segmentor, 'backbone', nn.Identity())
    return next((part for part in backbone.modules() if isinstance(part, TransformersBackbone)), None)


def transformer_groups(segmentor: nn.Module, transformer: TransformersBackbone, base_lr: float, base_wd: float,
                       paramwise_cfg: Mapping) -> list[dict]:
    """Groups the parameters of a segmentor by their learning rate.

    Block i of n (stage of a convolutional network) has the base rate times ``backbone_scale`` times ``decay_rate`` to the
    power of n - 1 - i; the layer norm behind the last one that block's, and what comes before the first one (patches,
    positions, class token) once more ``decay_rate``. Adapter, neck and heads have the base rate.

    Args:
        segmentor: The segmentor.
        transformer: Of :func:`transformer_of`.
        base_lr: Learning rate of the optimiser.
        base_wd: Weight decay of the optimiser.
        paramwise_cfg: ``decay_rate``; ``backbone_scale`` (1 if it is not given); ``decay_all``: whether biases and
            one-dimensional parameters have weight decay too (False). VFM-UDA++ has 0.9, 0.1 and True.

    Raises:
        ValueError: If ``decay_type`` is another than layer-wise, or ``num_layers`` is not the number of blocks.
    """
    _check(paramwise_cfg, len(transformer.blocks))
    scales = _scales(transformer, paramwise_cfg['decay_rate'], paramwise_cfg.get('backbone_scale', 1.0))
    scales.update(_scales_of_added(segmentor, transformer, scales))
    groups: dict[tuple[float, bool], dict] = {}
    for name, parameter in segmentor.named_parameters():
        if not parameter.requires_grad:
            continue
        scale, decayed = scales.get(id(parameter), 1.0), has_decay(name, parameter, paramwise_cfg)
        group = groups.setdefault((scale, decayed), dict(
            params=[], param_names=[], weight_decay=base_wd if decayed else 0., lr_scale=scale, lr=scale * base_lr,
            group_name=f'scale_{scale:.3g}_{"decay" if decayed else "no_decay"}'))
        group['params'].append(parameter)
        group['param_names'].append(name)
    return list(groups.values())


def has_decay(name: str, parameter: nn.Parameter, paramwise_cfg: Mapping) -> bool:
    """Whether a parameter has weight decay: mmseg's rule for transformers, or ``decay_all``."""
    return paramwise_cfg.get('decay_all', False) or (parameter.ndim != 1 and not name.endswith('.bias'))


def _scales(transformer: TransformersBackbone, rate: float, backbone_scale: float) -> dict[int, float]:
    blocks = transformer.blocks
    scales = {id(parameter): backbone_scale * rate**len(blocks) for parameter in transformer.model.parameters()}
    for index, block in enumerate(blocks):
        scales.update((id(parameter), backbone_scale * rate**(len(blocks) - 1 - index)) for parameter in block.parameters())
    if transformer.norm is not None:
        scales.update((id(parameter), backbone_scale) for parameter in transformer.norm.parameters())
    return scales


def _scales_of_added(segmentor: nn.Module, transformer: TransformersBackbone, scales: Mapping[int, float]
                     ) -> dict[int, float]:
    """Returns the scales of what a ``TunedBackbone`` adds, by the names of the blocks that it belongs to."""
    blocks = {id(block): scales[id(next(block.parameters()))] for block in transformer.blocks}
    places = {f'{name}.': blocks[id(module)] for name, module in segmentor.named_modules() if id(module) in blocks}
    added: dict[int, float] = {}
    for name, parameter in segmentor.named_parameters():
        if name.startswith(ADDED):
            place = name.replace(ADDED, 'backbone.backbone.', 1)
            added.update((id(parameter), scale) for start, scale in places.items() if place.startswith(start))
    return added


def _check(paramwise_cfg: Mapping, blocks: int) -> None:
    kind = paramwise_cfg.get('decay_type', 'layer_wise')
    if 'layer_wise' not in kind:
        raise ValueError(f"optim_wrapper.paramwise_cfg.decay_type is '{kind}'; TransformersBackbone takes layer_wise")
    if paramwise_cfg.get('num_layers', blocks) != blocks:
        raise ValueError(f'optim_wrapper.paramwise_cfg.num_layers is {paramwise_cfg["num_layers"]}, but the backbone has '
                         f'{blocks} blocks: remove it, they are counted')
    if 'decay_rate' not in paramwise_cfg:
        raise ValueError('optim_wrapper.paramwise_cfg.decay_rate is not given: set it, 0.9 in VFM-UDA++')
