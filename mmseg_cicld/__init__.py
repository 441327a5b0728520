"""Unsupervised domain adaptation for MMSegmentation 1.x.

Importing the package registers everything in mmseg's registries, so that a config needs one line:
``custom_imports = dict(imports=['mmseg_cicld'])``. Translation, which builds on diffusers, loads when it is used.
"""
import importlib
from types import ModuleType

from . import compat
from .deferred_imports import sharding_deferred

with sharding_deferred():
    compat.apply()

from . import datasets, engine, models, on_demand, uda, visualization
from .version import __version__

on_demand.register()

__all__ = ['__version__', 'compat', 'datasets', 'engine', 'models', 'translation', 'uda', 'visualization']


def __getattr__(name: str) -> ModuleType:
    """Loads ``mmseg_cicld.translation`` when it is asked for."""
    if name != 'translation':
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return importlib.import_module('.translation', __name__)
