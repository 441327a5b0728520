"""Tensor names of published DAFormer, HRDA and MIC segmentors and of this package, both ways, as pure functions on dicts.

Both sides name the tensors of one segmentor (``backbone.*``, ``decode_head.*``), without a wrapper's prefix.
Only MiT backbones differ: the published ones keep queries apart from keys and values and use linear layers where
mmseg's have 1x1 convolutions. All other tensors have the same name and shape on both sides.
"""
import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

_STAGE = re.compile(r'^(backbone\.)?(patch_embed|block|norm)([1-9])\.(.+)$')
_LAYER = re.compile(r'^(backbone\.)?layers\.(\d)\.([012])\.(.+)$')
_BLOCK_NAMES = (
    ('attn.proj.', 'attn.attn.out_proj.'),
    ('mlp.fc1.', 'ffn.layers.0.'),
    ('mlp.dwconv.dwconv.', 'ffn.layers.1.'),
    ('mlp.fc2.', 'ffn.layers.4.'),
    ('norm1.', 'norm1.'),
    ('norm2.', 'norm2.'),
    ('attn.sr.', 'attn.sr.'),
    ('attn.norm.', 'attn.norm.'),
)
_EMBEDDING_NAMES = (('proj.', 'projection.'), ('norm.', 'norm.'))
_QUERY, _MEMORY, _JOINT = 'attn.q.', 'attn.kv.', 'attn.attn.in_proj_'
_JOINED_NAMES = ((_QUERY, _JOINT), (_MEMORY, _JOINT))
_LINEAR, _POINTWISE = ('mlp.fc1.weight', 'mlp.fc2.weight'), ('ffn.layers.0.weight', 'ffn.layers.4.weight')


class CheckpointNameError(ValueError):
    """A checkpoint holds tensors that cannot be mapped, or lacks some; the message names them."""


def reference_to_ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the tensors of one published segmentor (or bare MiT backbone); each is used once.

    Args:
        state: Tensors by published name. A MiT classification ``head.*`` must have been dropped.

    Returns:
        Tensors by the names of mmseg 1.x, those of queries, keys and values joined in that order.

    Raises:
        CheckpointNameError: If a MiT tensor has an unknown name, a query lacks its keys and values or vice versa, or
            two tensors have one name in mmseg 1.x.
    """
    return {name: _joined(state, parts) for name, parts in published_parts(state).items()}


def published_parts(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Tells what each tensor of mmseg 1.x is made from: name -> published names, of which each occurs once.

    Raises:
        CheckpointNameError: As :func:`reference_to_ours`.
    """
    parts: dict[str, list[str]] = {}
    for name in names:
        parts.setdefault(_our_name(name), []).append(name)
    for ours, found in parts.items():
        wanted = _sources_of_joint(found[0]) if _JOINT in ours and _STAGE.match(found[0]) else found[:1]
        if missing := [name for name in wanted if name not in found]:
            raise CheckpointNameError(f'checkpoint has {found[0]} but not {missing[0]}')
        if len(found) > len(wanted):
            raise CheckpointNameError(f'checkpoint has several tensors that are {ours} today: {", ".join(found)}')
        parts[ours] = wanted
    return {ours: tuple(found) for ours, found in parts.items()}


def ours_to_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of :func:`reference_to_ours`.

    Args:
        state: Tensors of one segmentor (or bare MiT backbone) by the names of mmseg 1.x.

    Raises:
        CheckpointNameError: If a MiT tensor has an unknown name.
    """
    reference: dict[str, Tensor] = {}
    for name, tensor in state.items():
        match = _LAYER.match(name)
        if match is None:
            reference[name] = tensor
            continue
        prefix, stage, part, rest = match.group(1) or '', int(match.group(2)) + 1, match.group(3), match.group(4)
        if part == '2':
            reference[f'{prefix}norm{stage}.{rest}'] = tensor
        elif part == '0':
            reference[f'{prefix}patch_embed{stage}.{_renamed(rest, _swapped(_EMBEDDING_NAMES), name)}'] = tensor
        else:
            index, _, inner = rest.partition('.')
            reference.update(_published_block_tensors(f'{prefix}block{stage}.{index}.', inner, tensor, name))
    return reference


def _our_name(name: str) -> str:
    match = _STAGE.match(name)
    if match is None:
        return name
    layer = f'{match.group(1) or ""}layers.{int(match.group(3)) - 1}.'
    kind, rest = match.group(2), match.group(4)
    if kind == 'norm':
        return f'{layer}2.{rest}'
    if kind == 'patch_embed':
        return f'{layer}0.{_renamed(rest, _EMBEDDING_NAMES, name)}'
    index, _, inner = rest.partition('.')
    return f'{layer}1.{index}.{_renamed(inner, _BLOCK_NAMES + _JOINED_NAMES, name)}'


def _sources_of_joint(name: str) -> list[str]:
    return [name.replace(_MEMORY, _QUERY), name.replace(_QUERY, _MEMORY)]


def _joined(state: Mapping[str, Tensor], parts: tuple[str, ...]) -> Tensor:
    if len(parts) > 1:
        return torch.cat([state[part] for part in parts])
    tensor = state[parts[0]]
    is_pointwise = _STAGE.match(parts[0]) and parts[0].endswith(_LINEAR)
    return tensor[:, :, None, None] if is_pointwise else tensor


def _published_block_tensors(block: str, inner: str, tensor: Tensor, name: str) -> dict[str, Tensor]:
    if inner.startswith(_JOINT):
        channels, kind = len(tensor) // 3, inner[len(_JOINT):]
        return {f'{block}{_QUERY}{kind}': tensor[:channels], f'{block}{_MEMORY}{kind}': tensor[channels:]}
    renamed = _renamed(inner, _swapped(_BLOCK_NAMES), name)
    return {block + renamed: tensor[:, :, 0, 0] if inner in _POINTWISE else tensor}


def _swapped(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((new, old) for old, new in pairs)


def _renamed(rest: str, pairs: tuple[tuple[str, str], ...], name: str) -> str:
    for old, new in pairs:
        if rest.startswith(old):
            return new + rest[len(old):]
    raise CheckpointNameError(f'checkpoint has {name}, which is no tensor of a Mix Transformer')
