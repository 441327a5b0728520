"""Tensors of which each process holds a part (FSDP): the part that is here, and the whole of all processes.

torch's class of such tensors takes most of a second to import, so it is left to trainings that shard.
"""
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def is_part(tensor: object) -> bool:
    """Tells whether something is a sharded tensor; there is none before its class was imported."""
    module = sys.modules.get('torch.distributed.tensor')
    return module is not None and isinstance(tensor, module.DTensor)


def local_part(tensor: Tensor) -> Tensor:
    """Returns what this process holds of a tensor, in the same memory; a tensor that is not sharded as it is."""
    return tensor.to_local() if is_part(tensor) else tensor


@torch.no_grad()
def whole(state: Any) -> Any:
    """Gathers all sharded tensors of nested dicts, lists and tuples on the CPU; to be called by all processes.

    Args:
        state: What else is in it stays as it is.
    """
    if is_part(state):
        return state.full_tensor().cpu()
    if isinstance(state, Mapping):
        return {key: whole(value) for key, value in state.items()}
    return type(state)(map(whole, state)) if isinstance(state, (list, tuple)) else state
