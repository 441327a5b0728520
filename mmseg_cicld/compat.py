"""Repairs of faults of the host packages (mmseg, mmcv, mmengine), each applied only where its fault is present.

The import names mmseg, mmcv and mmengine come from one of two sets of distributions, OpenMMLab's or the maintained
onedl one. This module runs before anything else of the package, because ``mmseg.models`` cannot be imported before
the first repair. No repair touches how checkpoints are loaded.
"""
import importlib
import importlib.metadata
import importlib.util
import os.path as osp
import sys
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from typing import NoReturn

TWO_WAYS = (
    'Install one of the two sets of host packages, never both in one environment: pip install mmsegmentation==1.2.2 '
    "mmcv-lite==2.1.0 mmengine==0.10.7 ftfy regex 'setuptools<82'; or: pip install onedl-mmsegmentation==1.4.2 "
    'onedl-mmcv==2.3.6 onedl-mmengine==0.10.12')
SYSTEM_LIBRARIES = ('This is a library of the system that OpenCV needs. On Debian and Ubuntu: apt-get install libgl1 '
                    'libglib2.0-0')

PROVIDERS = {
    'mmseg': (('mmsegmentation', ), ('onedl-mmsegmentation', )),
    'mmcv': (('mmcv', 'mmcv-lite', 'mmcv-full'), ('onedl-mmcv', )),
    'mmengine': (('mmengine', 'mmengine-lite'), ('onedl-mmengine', )),
}
"""Import name -> its distributions in the OpenMMLab set and in the onedl set."""


class CompiledOpsStandIn(types.ModuleType):
    """Stands where ``mmcv._ext`` is missing, so that modules which only look its functions up can be imported.

    mmseg 1.2.2 imports ``mmcv.ops`` for ``point_sample`` and this package for its deformable attention, which are plain
    torch; the functions of the compiled library are looked up at that import but not called. Whoever calls one gets a
    NotImplementedError.
    """

    def __init__(self) -> None:
        super().__init__('mmcv._ext', doc=self.__doc__)
        # No loader: mmengine and mmcv ask for it to tell whether compiled operators are there.
        self.__spec__ = ModuleSpec('mmcv._ext', None)

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        """Returns a function that refuses to run, under any name but those of Python's own protocols."""
        if name.startswith('__'):
            raise AttributeError(name)

        def refuse(*args: object, **kwargs: object) -> NoReturn:
            raise NotImplementedError(f"'{name}' is a compiled operator of mmcv and this mmcv has none (mmcv-lite). "
                                      'Choose a network without it, or build the full mmcv.')

        return refuse


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def refuse_mixed_sets() -> None:
    """Checks that no import name is provided by both sets, whose files would overwrite each other.

    Raises:
        ImportError: If two distributions provide one import name.
    """
    for name, (openmmlab, onedl) in PROVIDERS.items():
        found = [[d for d in candidates if _installed(d)] for candidates in (openmmlab, onedl)]
        if all(found):
            raise ImportError(f"'{name}' is installed twice, by {found[0][0]} and by {found[1][0]}. {TWO_WAYS}")


def import_hosts() -> bool:
    """Imports the host packages, with the stand-in for ``mmcv._ext`` where they cannot be imported without it.

    Returns:
        Whether the stand-in is in use.

    Raises:
        ImportError: If a host package is missing or has a version that mmseg refuses, in one line.
    """
    try:
        importlib.import_module('mmseg.utils')
        importlib.import_module('mmcv.ops')  # which onedl's mmseg does without
    except (AssertionError, ImportError) as error:
        if getattr(error, 'name', None) != 'mmcv._ext':
            message = ' '.join(str(error).split()).rstrip('.')
            advice = SYSTEM_LIBRARIES if 'cannot open shared object file' in message else TWO_WAYS
            raise ImportError(f'mmseg_cicld cannot import its host packages: {message}. {advice}') from None
        sys.modules['mmcv._ext'] = CompiledOpsStandIn()
        return import_hosts()
    return isinstance(sys.modules.get('mmcv._ext'), CompiledOpsStandIn)


def import_mmengine_alone() -> bool:
    """Imports mmengine's optimisers without transformers, which loads when its ``Adafactor`` is asked for.

    mmengine registers that one optimiser of transformers, wherever the library is installed, by importing it: three
    seconds of processor time at the start of every program.

    Returns:
        Whether transformers would have been imported.
    """
    known = {'transformers', 'mmengine.optim'} & set(sys.modules)
    if known or not _installed('transformers'):
        return False
    sys.modules['transformers'] = None  # type: ignore[assignment]  # Python's way to say that it cannot be imported
    try:
        optimisers = importlib.import_module('mmengine.optim').OPTIMIZERS
    except ImportError:  # what is wrong, import_hosts says in one line
        return False
    finally:
        del sys.modules['transformers']
    optimisers.register_module(name='Adafactor', module=adafactor, force=True)
    return True


def adafactor(*args: object, **kwargs: object) -> object:
    """Builds the ``Adafactor`` of transformers; arguments are its own."""
    return importlib.import_module('transformers').Adafactor(*args, **kwargs)


def name_config_packages() -> None:
    """Lets ``_base_ = 'mmseg_cicld::...'`` resolve everywhere, and ``'mmseg::...'`` on the onedl set too.

    mmengine maps the name before ``::`` to a distribution and looks for its folder. For this package the value is the
    name of a module inside it, which no distribution has: mmengine then asks Python where that module is, and this
    finds a normal and an editable installation and a source tree alike.
    """
    names = importlib.import_module('mmengine.config.utils').MODULE2PACKAGE
    names['mmseg_cicld'] = 'mmseg_cicld.version'
    if not _installed(names['mmseg']):
        names['mmseg'] = 'mmseg'


def _module_of(package: str) -> str:
    names = importlib.import_module('mmengine.config.utils').MODULE2PACKAGE
    return {distribution: module for module, distribution in names.items()}.get(package, package)


def is_installed(package: str) -> bool:
    """Tells whether a package is installed, as ``mmengine.utils.is_installed`` but without pkg_resources.

    Args:
        package: Name of a distribution or a module.
    """
    spec = importlib.util.find_spec(_module_of(package))
    return _installed(package) or (spec is not None and spec.origin is not None)


def get_installed_path(package: str) -> str:
    """Finds the folder of a package, as ``mmengine.utils.get_installed_path`` but without pkg_resources.

    Args:
        package: Name of a distribution or a module.

    Raises:
        ModuleNotFoundError: If there is no such package.
    """
    spec = importlib.util.find_spec(_module_of(package))
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"'{package}' is not installed, or has no folder of its own.")
    return osp.dirname(spec.origin)


def replace_pkg_resources() -> bool:
    """Gives mmengine the two functions above where setuptools has no ``pkg_resources`` any more (82 and later).

    Returns:
        Whether mmengine needed them.
    """
    if importlib.util.find_spec('pkg_resources') is not None:
        return False
    for user in ('mmengine.utils.package_utils', 'mmengine.utils', 'mmengine.config.config', 'mmengine.hub.hub'):
        module = importlib.import_module(user)
        for function in (is_installed, get_installed_path):
            if hasattr(module, function.__name__):
                setattr(module, function.__name__, function)
    return True


def apply() -> None:
    """Checks the host packages and applies the repairs that they need.

    Raises:
        ImportError: If the host packages are missing, mixed or of a wrong version.
    """
    refuse_mixed_sets()
    import_mmengine_alone()
    import_hosts()
    name_config_packages()
    replace_pkg_resources()
