"""The one place that reaches into private attributes of mmengine and torch, each where there is no other way.

If a new version of mmengine renames one of them, this file is what has to follow.
"""
import functools
import json
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from matplotlib import rcParams
from mmengine.config import Config
from mmengine.config import config as mmengine_config
from mmengine.dataset import BaseDataset
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, Runner
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.visualization import Visualizer
from mmengine.visualization.vis_backend import BaseVisBackend
from torch import nn
from torch.optim import Optimizer

Reader = Callable[..., dict]


# Runner: what it was told to begin with. There are arguments of its constructor and no setters.

def beginning(runner: Runner) -> tuple[bool | str, str | None]:
    """Returns ``resume`` and ``load_from`` of a runner."""
    return runner._resume, runner._load_from


def set_beginning(runner: Runner, resume: bool | str, load_from: str | None) -> None:
    """Changes ``resume`` and ``load_from`` of a runner that has not begun."""
    runner._resume, runner._load_from = resume, load_from


def has_begun(runner: Runner) -> bool:
    """Tells whether a runner has loaded or resumed."""
    return runner._has_loaded


def set_begun(runner: Runner) -> None:
    """Keeps a runner from loading once more."""
    runner._has_loaded = True


def built_loops(runner: Runner) -> list[BaseLoop]:
    """Returns training and validation loop as far as they are built; the public properties would build them."""
    return [loop for loop in (runner._train_loop, runner._val_loop) if isinstance(loop, BaseLoop)]


def is_training(runner: Runner) -> bool:
    """Tells whether the training loop is built."""
    return isinstance(runner._train_loop, BaseLoop)


def randomness(runner: Runner) -> dict:
    """Returns ``randomness`` of the config, which the runner keeps and uses when it resumes; may be changed."""
    return runner._randomness_cfg


def set_position(loop: BaseLoop, epoch: int, iteration: int) -> None:
    """Lets a training loop go on at an epoch and iteration, which are read-only properties."""
    loop._epoch, loop._iter = epoch, iteration


def end_workers(loop: BaseLoop) -> None:
    """Ends the persistent workers of a loop's data loader, which they do with its iterator.

    The garbage collector would close the queues through which they are told so first, and then wait for each of them
    for 5 seconds.
    """
    loop.dataloader._iterator = None


# Optimiser wrapper: how it accumulates gradients. These are arguments and counters without properties.

def accumulated_passes(optim_wrapper: OptimWrapper) -> int:
    """Returns ``accumulative_counts``: iterations from one update to the next."""
    return optim_wrapper._accumulative_counts


def counted_passes(optim_wrapper: OptimWrapper) -> int:
    """Returns how many backward passes the wrapper has counted."""
    return optim_wrapper._inner_count


def set_counted_passes(optim_wrapper: OptimWrapper, count: int) -> None:
    """Sets how many backward passes the wrapper has counted; several passes of one iteration are one for it."""
    optim_wrapper._inner_count = count


# Visualizer: it hands the same name to all of its backends, which want different ones.

def backends_of(visualizer: Visualizer) -> list[BaseVisBackend]:
    """Returns the backends of a visualizer."""
    return list(visualizer._vis_backends.values())


class _OnFirstUse:
    """Stands for one of several things that are made together when one of them is used."""

    def __init__(self, made: Callable[[], tuple], index: int) -> None:
        self._made, self._index = made, index

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made()[self._index], name)


class _FigureOnFirstUse(_OnFirstUse):
    """The figure among them, whose resolution a visualizer reads at once."""

    def get_dpi(self) -> float:
        return rcParams['figure.dpi']


@contextmanager
def figures_on_first_use() -> Iterator[None]:
    """Lets visualizers that are built meanwhile make their matplotlib figure when they first draw on it.

    Every visualizer has one, and most trainings write numbers and finished pictures alone.
    """
    make = Visualizer._initialize_fig

    def later(self: Visualizer, fig_cfg: dict) -> tuple:
        made = functools.cache(lambda: make(self, fig_cfg))
        if 'dpi' in fig_cfg:
            return made()
        return _OnFirstUse(made, 0), _FigureOnFirstUse(made, 1), _OnFirstUse(made, 2)

    Visualizer._initialize_fig = later
    try:
        yield
    finally:
        Visualizer._initialize_fig = make


# Optimisers of torch: the first one loads torch's compiler, to keep it away from a method.

@contextmanager
def compiler_not_loaded() -> Iterator[None]:
    """Lets optimisers be built without loading ``torch._dynamo``, unless something else has loaded it.

    What torch would do with it is to keep the compiler out of ``add_param_group``, and nothing is compiled meanwhile.
    """
    method = getattr(Optimizer.add_param_group, '__wrapped__', None)
    if method is None or 'torch._dynamo' in sys.modules or hasattr(method, '__dynamo_disable'):
        yield
        return
    setattr(method, '__dynamo_disable', method)
    try:
        yield
    finally:
        delattr(method, '__dynamo_disable')


# Data preprocessor of mmseg: that it normalises is known to its own flag alone.

def normalises(preprocessor: nn.Module) -> bool:
    """Tells whether a data preprocessor has a mean and a standard deviation."""
    return getattr(preprocessor, '_enable_normalize', False)


# Config and state dicts.

def format_configs_once() -> None:
    """Lets mmengine format the same config once: the text is logged, dumped twice, and part of each checkpoint.

    The fork of the maintained stack imports yapf's function anew for each text, and is left alone.
    """
    format_code = getattr(mmengine_config, 'FormatCode', None)
    if format_code is not None and not hasattr(format_code, 'cache_info'):

        @functools.lru_cache(maxsize=4)
        def formatted(text: str, style: str, options: tuple) -> tuple:
            return format_code(text, style_config=json.loads(style), **dict(options))

        def once(text: str, style_config: dict, **options: object) -> tuple:
            return formatted(text, json.dumps(style_config), tuple(options.items()))

        once.cache_info = formatted.cache_info  # type: ignore[attr-defined]
        mmengine_config.FormatCode = once


def config_dict(config: Config) -> dict:
    """Returns the dict inside a config as it is; ``to_dict`` would copy it and resolve lazy objects."""
    return config._cfg_dict


def versions(state: Mapping) -> OrderedDict:
    """Returns the versions of layers that the state dict of a module carries beside its tensors."""
    none: OrderedDict = OrderedDict()
    return getattr(state, '_metadata', none)


def set_versions(state: OrderedDict, found: OrderedDict) -> None:
    """Gives a state dict the versions of layers, which ``load_state_dict`` reads."""
    state._metadata = found  # type: ignore[attr-defined]  # torch adds it to dicts that do not declare it


@contextmanager
def replaced_readers(local: Reader, http: Reader) -> Iterator[None]:
    """Lets mmengine read files and addresses with other functions for a while.

    Args:
        local: Called with a path and the device of the tensors.
        http: Likewise with an ``http(s)://`` address. mmengine resolves names such as ``open-mmlab://`` to addresses
            and calls the function of its module by name, past the register.
    """
    schemes, by_name = CheckpointLoader._schemes, mmengine_checkpoint.load_from_http
    CheckpointLoader._schemes = OrderedDict(schemes)
    CheckpointLoader.register_scheme('', local, force=True)
    CheckpointLoader.register_scheme(('http://', 'https://'), http, force=True)
    mmengine_checkpoint.load_from_http = http
    try:
        yield
    finally:
        CheckpointLoader._schemes, mmengine_checkpoint.load_from_http = schemes, by_name


# Datasets: classes are fixed when a dataset is built, before several are joined that name them differently.

def set_classes(dataset: BaseDataset, classes: Sequence[str], palette: list, label_map: dict[int, int] | None) -> None:
    """Renames the classes of a dataset; with a new table from ids in its files to ids of the classes it lists them anew.

    Args:
        dataset: One of mmseg's, fully initialised.
        classes: The new names.
        palette: A colour for each.
        label_map: Table of ids; None leaves the one that the dataset has.
    """
    dataset._metainfo.update(classes=tuple(classes), palette=palette)
    if label_map is not None:
        dataset.label_map = dataset._metainfo['label_map'] = label_map
        dataset._fully_initialized = False
        dataset.full_init()
