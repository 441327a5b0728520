"""Unsupervised domain adaptation for MMSegmentation 1.x.

Importing the package registers everything in mmseg's registries, so that a config needs one line:
``custom_imports = dict(imports=['mmseg_cicld'])``.
"""
from . import compat

compat.apply()

from . import datasets, engine, models, translation, uda, visualization  # noqa: E402
from .version import __version__  # noqa: E402

__all__ = ['__version__', 'compat', 'datasets', 'engine', 'models', 'translation', 'uda', 'visualization']
