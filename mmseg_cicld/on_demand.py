"""Components that a config finds by ``type`` like all others, but whose modules load when the first one is built.

They build on diffusers, whose import takes as long as half of mmseg's; most trainings do without them.
"""
import importlib
from collections.abc import Callable

from mmengine.registry import Registry
from mmseg.registry import HOOKS, MODELS

COMPONENTS = (
    (MODELS, 'TargetDiffusion', 'mmseg_cicld.translation.target_diffusion'),
    (HOOKS, 'SampleGridHook', 'mmseg_cicld.translation.hooks'),
    (HOOKS, 'SaveAutoencoderHook', 'mmseg_cicld.translation.hooks'),
    (HOOKS, 'SaveFolderHook', 'mmseg_cicld.translation.hooks'),
)
"""Registry, name, and the module whose class of that name registers itself, in place of this entry, as it loads."""


def register() -> None:
    """Registers a builder for each of :data:`COMPONENTS`, until its module is loaded."""
    for registry, name, module in COMPONENTS:
        registry.register_module(name=name, module=_builder(registry, name, module))


def _builder(registry: Registry, name: str, module: str) -> Callable[..., object]:
    def build(*args: object, **kwargs: object) -> object:
        importlib.import_module(module)
        return registry.get(name)(*args, **kwargs)

    # mmengine names these in its log and errors.
    build.__name__, build.__module__ = name, module
    return build
