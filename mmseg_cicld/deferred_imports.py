"""Sharded training of mmengine, imported when it is asked for: it takes a quarter of the processor time of the import.

mmengine imports torch's FSDP and ZeRO optimiser, and with them half of torch's compiler and sympy, for a wrapper, a
strategy and an optimiser that no config of this package names.
"""
import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager

SHARDED = (
    ('mmengine.model.wrappers.fully_sharded_distributed', 'MMFullyShardedDataParallel', 'MODEL_WRAPPERS'),
    ('mmengine._strategy.fsdp', 'FSDPStrategy', 'STRATEGIES'),
)
"""Module of mmengine, its class, and the registry where mmengine looks for it."""
ZERO = ('mmengine.optim.optimizer.zero_optimizer', 'ZeroRedundancyOptimizer', 'OPTIMIZERS')
SOURCE_OF_ZERO = 'torch.distributed.optim'


@contextmanager
def sharding_deferred() -> Iterator[None]:
    """While it is entered, importing mmengine leaves sharded training out; afterwards its classes load when one is built.

    A program that has imported mmengine before keeps what it has.
    """
    if {'mmengine.optim', 'mmengine.model', 'mmengine.runner', SOURCE_OF_ZERO} & set(sys.modules):
        yield
        return
    classes = {name: _class_on_demand(module, name, registry) for module, name, registry in (*SHARDED, ZERO)}
    for module, name, _ in SHARDED:
        sys.modules[module] = types.ModuleType(module)
        setattr(sys.modules[module], name, classes[name])
    sys.modules[SOURCE_OF_ZERO] = None  # Python's way to say that it cannot be imported
    try:
        yield
        importlib.import_module('mmengine.runner')  # which imports all of them
    finally:
        for module in (SOURCE_OF_ZERO, ZERO[0], *(module for module, _, _ in SHARDED)):
            sys.modules.pop(module, None)
    registries = importlib.import_module('mmengine.registry')
    for _, name, registry in (*SHARDED, ZERO):
        getattr(registries, registry).register_module(name=name, module=classes[name], force=True)


def _class_on_demand(module: str, name: str, registry: str) -> type:
    """Returns a class that, called, imports the module of mmengine and builds that module's class in its place."""
    def build(cls: type, *args: object, **kwargs: object) -> object:
        known = getattr(importlib.import_module('mmengine.registry'), registry).module_dict
        if known.get(name) is cls:
            del known[name]  # the module registers its own
        return getattr(importlib.import_module(module), name)(*args, **kwargs)

    def refuse(cls: type, /, **kwargs: object) -> None:
        raise TypeError(f'{name} stands for the class of {module}, which is imported when it is built: to derive from it, '
                        'import mmengine.runner before mmseg_cicld')

    return type(name, (), dict(__new__=build, __init_subclass__=classmethod(refuse), __module__=module,
                               __doc__=f'Stands for that of {module}.'))
