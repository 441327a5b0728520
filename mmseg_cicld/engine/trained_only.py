"""Checkpoints without the frozen weights of tuned backbones, which come from their source again and are compared."""
import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..models.backbones import TunedBackbone
from ..sharded_tensors import local_part, whole
from .checkpoint_reading import CheckpointError, read_checkpoint
from .tunings import tuned_backbones

PART = 'frozen'
"""Part of such a checkpoint: a digest of the frozen weights of each tuned backbone, by its name."""


def frozen_digests(model: nn.Module) -> dict[str, str]:
    """Returns a digest of the frozen weights of each tuned backbone, by its name.

    To be called by all processes.

    Raises:
        ValueError: If the model has no tuned backbone.
    """
    tuned = tuned_backbones(model)
    if not tuned:
        raise ValueError('default_hooks.checkpoint.trained_only=True leaves out what a tuned backbone does not train, and '
                         "this model has none: remove it, or set model.segmentor.backbone=dict(type='TunedBackbone', ...)")
    known: dict[tuple[int, ...], str] = {}  # those of a teacher are the student's
    digests = {}
    for name, part in tuned.items():
        tensors = _frozen(part)
        places = tuple(local_part(tensor).data_ptr() for tensor in tensors.values())
        if places not in known:
            known[places] = _digest(tensors)
        digests[name] = known[places]
    return digests


def leave_out_frozen(checkpoint: dict, model: nn.Module, digests: Mapping[str, str]) -> None:
    """Takes the frozen weights of tuned backbones out of a checkpoint and puts their digests in.

    Args:
        checkpoint: Its part ``state_dict`` is changed.
        model: The model, not wrapped.
        digests: Those of :func:`frozen_digests`.
    """
    for name, part in tuned_backbones(model).items():
        for key in _frozen(part):
            del checkpoint['state_dict'][f'{name}.{key}' if name else key]
    checkpoint[PART] = dict(digests)


def fill_in_frozen(checkpoint: dict, model: nn.Module, path: str | Path) -> None:
    """Puts the frozen weights back, those of the model or, if it has others, of the source that its backbone names.

    Args:
        checkpoint: What was read; one that is whole stays as it is.
        model: The model that is to take the weights, not wrapped.
        path: The file of the checkpoint, for errors.

    Raises:
        CheckpointError: If the weights of the source are not those of the training.
    """
    if PART not in checkpoint:
        return
    tuned = tuned_backbones(model)
    absent = [name for name in checkpoint[PART] if name not in tuned]
    if absent:
        raise CheckpointError(path, f'holds only what was trained, without the frozen weights of {absent[0]}, where this '
                                    'config has no TunedBackbone: use the config of the training')
    for name, digest in checkpoint[PART].items():
        part = tuned[name]
        if _digest(_frozen(part)) != digest:
            part.load_source()
        if _digest(_frozen(part)) != digest:
            raise CheckpointError(
                path, f'holds only what was trained, and the frozen weights that {name}.backbone gets from its source '
                      '(init_cfg or weights of backbone.backbone, or the seed) are not those of the training: set it to '
                      'the very same weights')
        for key, tensor in _frozen(part).items():
            checkpoint['state_dict'][f'{name}.{key}' if name else key] = tensor.detach().clone()


def read_whole_checkpoint(path: str | Path) -> dict:
    """Reads a checkpoint whose weights are handed on without their model.

    Raises:
        CheckpointError: If it cannot be read, or holds only what was trained.
    """
    checkpoint = read_checkpoint(path)
    if PART in checkpoint:
        raise CheckpointError(path, 'holds only what was trained, and its weights cannot be handed on without the model: '
                                    'train with default_hooks.checkpoint.trained_only=False')
    return checkpoint


def _frozen(part: TunedBackbone) -> dict[str, Tensor]:
    """Returns the frozen weights of the wrapped backbone, without what a tuning started with, by name."""
    state = part.state_dict(keep_vars=True)
    return {name: state[name] for name in sorted(part.frozen_names) if name.startswith('backbone.') and name in state}


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in tensors.items():
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        flat = whole(tensor.detach()).cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
