"""Precision of what half precision is too coarse for."""
import torch
from torch import Tensor


def full_precision(values: Tensor) -> Tensor:
    """Returns floating point values as float32; float64 stays as it is."""
    return values if values.dtype == torch.float64 else values.float()
