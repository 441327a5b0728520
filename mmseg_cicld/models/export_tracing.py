"""What a network does otherwise while an exporter (``torch.onnx.export``, ``torch.jit.trace``) records it.

An exporter keeps operations and not values: what is drawn has to become a constant of the file, what is written in
place into a part of a map may be lost, and a form that was chosen for the speed of eager torch only adds nodes.
"""
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Result = TypeVar('Result')


def is_exported() -> bool:
    """Tells whether the running forward pass is recorded by the tracing exporter or by ``torch.export``."""
    return torch.jit.is_tracing() or torch.compiler.is_exporting()


def unrecorded(function: Callable[..., Result], *args, **kwargs) -> Result:
    """Calls a function so that an exporter sees its result as a constant; in other passes, just calls it.

    What does not depend on the image, such as draws of a fixed seed or the copy of a schedule, belongs in here:
    exporters record operations of the thread that they were called in, and have none for a ``torch.Generator``.
    """
    if not is_exported():
        return function(*args, **kwargs)
    with ThreadPoolExecutor(max_workers=1) as other:
        return other.submit(function, *args, **kwargs).result()


@contextmanager
def constant_draws() -> Iterator[None]:
    """Makes what is drawn from a ``torch.Generator`` a constant of the exported file; no effect in other passes.

    The draws of a seed do not depend on the image, only on its size: the file is right for the size of its example.
    """
    if not is_exported():
        yield
        return
    with _ConstantDraws():
        yield


class _ConstantDraws(TorchFunctionMode):

    def __torch_function__(self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Tensor:
        kwargs = kwargs or {}
        if kwargs.get('generator') is None:
            return func(*args, **kwargs)
        size = args[0] if isinstance(args[0], Sequence) else args
        size = tuple(int(side) for side in size)  # under tracing, sides are tensors
        return unrecorded(func, size, **kwargs)
