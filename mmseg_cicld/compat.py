"""Repairs of known faults of the host packages, each applied only where its fault is present."""
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NoReturn


class _MissingOps(ModuleType):
    """Stands in for mmcv's compiled operations, which mmcv-lite lacks and mmseg 1.2.2 imports without need."""

    def __getattr__(self, name: str):
        if name.startswith('__'):
            raise AttributeError(name)

        def unavailable(*args, **kwargs) -> NoReturn:
            raise NotImplementedError(f'mmcv-lite has no compiled operations, and this model calls {name}: '
                                      'install the full mmcv 2.1.0, or choose a model without it')

        return unavailable


def provide_mmcv_ops() -> None:
    """Lets mmseg import ``mmcv.ops`` on mmcv-lite; calling a compiled operation there raises an error."""
    if importlib.util.find_spec('mmcv._ext') is None:
        module = _MissingOps('mmcv._ext')
        module.__spec__ = ModuleSpec('mmcv._ext', None)
        sys.modules['mmcv._ext'] = module


provide_mmcv_ops()
