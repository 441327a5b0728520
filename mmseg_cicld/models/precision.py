"""Precision of what half precision is too coarse for, and what a processor does in half precision."""
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def full_precision(values: Tensor) -> Tensor:
    """Returns floating point values as float32; float64 stays as it is."""
    return values if values.dtype == torch.float64 else values.float()


def convolved_dtype(values: Tensor) -> torch.dtype:
    """Returns the type that a convolution of values on a CPU has: under autocast that of autocast, but float64 stays."""
    autocast = torch.is_autocast_enabled('cpu') and values.dtype != torch.float64
    return torch.get_autocast_dtype('cpu') if autocast else values.dtype


def multiplies_bfloat16() -> bool:
    """Tells whether this processor multiplies numbers of bfloat16 itself; others make float32 of them and lose time."""
    return any(_capabilities().get(name) for name in ('avx512_bf16', 'amx_bf16', 'bf16', 'sve_bf16'))


def autocast_dtype(name: str, device: torch.device | str) -> torch.dtype | None:
    """Returns the number format of autocast that a config names.

    Args:
        name: ``'bfloat16'``, or ``'auto'``: bfloat16 on a device that multiplies numbers of it itself.
        device: Device that computes.

    Returns:
        The format; None where ``'auto'`` leaves everything in float32.

    Raises:
        ValueError: For another name, which would need loss scaling or save nothing.
    """
    if name not in ('bfloat16', 'auto'):
        raise ValueError(f"dtype is {name!r}, allowed are 'bfloat16' and 'auto', which is bfloat16 where the device has "
                         'units for it')
    return torch.bfloat16 if name == 'bfloat16' or _has_units(torch.device(device)) else None


def _has_units(device: torch.device) -> bool:
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type != 'cpu' or multiplies_bfloat16()


def _capabilities() -> Mapping[str, Any]:
    # Older torch does not tell.
    return torch.cpu.get_capabilities() if hasattr(torch.cpu, 'get_capabilities') else {'bf16': True}
