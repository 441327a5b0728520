"""Unsupervised domain adaptation for MMSegmentation 1.x; importing this package registers everything."""
from . import compat  # noqa: F401  isort: skip (repairs must come before mmseg is imported)
from . import datasets, engine, models, uda  # noqa: F401
