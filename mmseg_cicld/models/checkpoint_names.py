"""Tensor names of published DAFormer segmentors and of this package, both ways, as pure functions on dicts.

Both sides name the tensors of one segmentor (``backbone.*``, ``decode_head.*``), without a wrapper's prefix.
Only MiT backbones differ: the published ones keep queries apart from keys and values and use linear layers where
mmseg's have 1x1 convolutions. All other tensors have the same name and shape on both sides.
"""
import re
from collections.abc import Mapping

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
_POINTWISE = ('ffn.layers.0.weight', 'ffn.layers.4.weight')


class CheckpointNameError(ValueError):
    """A checkpoint holds tensors that cannot be mapped, or lacks some; the message names them."""


def reference_to_ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the tensors of one published segmentor (or bare MiT backbone).

    Args:
        state: Tensors by published name. A MiT classification ``head.*`` must have been dropped.

    Returns:
        Tensors by the names of mmseg 1.x, those of queries, keys and values joined in that order.

    Raises:
        CheckpointNameError: If a MiT tensor has an unknown name, or a query lacks its keys and values or vice versa.
    """
    ours: dict[str, Tensor] = {}
    for name, tensor in state.items():
        match = _STAGE.match(name)
        if match is None:
            ours[name] = tensor
            continue
        prefix, kind, stage, rest = match.group(1) or '', match.group(2), int(match.group(3)) - 1, match.group(4)
        layer = f'{prefix}layers.{stage}.'
        if kind == 'norm':
            ours[f'{layer}2.{rest}'] = tensor
        elif kind == 'patch_embed':
            ours[f'{layer}0.{_renamed(rest, _EMBEDDING_NAMES, name)}'] = tensor
        else:
            index, _, inner = rest.partition('.')
            _add_block_tensor(ours, state, f'{layer}1.{index}.', name, inner)
    return ours


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


def _add_block_tensor(ours: dict[str, Tensor], state: Mapping[str, Tensor], block: str, name: str,
                      inner: str) -> None:
    for own, other in ((_QUERY, _MEMORY), (_MEMORY, _QUERY)):
        if inner.startswith(own):
            kind, partner = inner[len(own):], name.replace(own, other)
            if partner not in state:
                raise CheckpointNameError(f'checkpoint has {name} but not {partner}')
            query, memory = (name, partner) if own is _QUERY else (partner, name)
            ours.setdefault(f'{block}{_JOINT}{kind}', torch.cat([state[query], state[memory]]))
            return
    renamed, tensor = _renamed(inner, _BLOCK_NAMES, name), state[name]
    ours[block + renamed] = tensor[:, :, None, None] if renamed in _POINTWISE else tensor


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
