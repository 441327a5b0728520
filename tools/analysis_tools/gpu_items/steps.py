"""Training steps at the published sizes: seconds, memory, how busy the GPU is, and where the host waits for it."""
import argparse
import gc
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from benchmark_step import Stopwatch, build, synthetic_batch, time_parts
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmseg_cicld.engine.acceleration import compile_segmentors

from .listing import PRECISIONS
from .methods import method_config
from .records import Setting
from .step_profile import busy_seconds, host_waits

Figures = dict[str, float | int | str | None]


def eager(setting: Setting, folder: Path, method: str) -> Figures:
    """Measures a step in each precision; one that does not fit into the memory of the card says so."""
    figures: Figures = {}
    for precision in PRECISIONS[:1] if setting.small else PRECISIONS:
        try:
            step = training_step(setting, method_config(method, setting.small), precision)
            # Of tiny networks, which are there to try the code, one is enough.
            found = measured(setting, step, looks_inside=not setting.small or method == 'daformer')
        except torch.OutOfMemoryError:
            found = dict(seconds='the memory of the card is too small')
        step = None
        free_memory(setting)
        figures.update({f'{precision}.{key}': value for key, value in found.items()})
    return figures


def compiled(setting: Setting, folder: Path, method: str, precision: str) -> Figures:
    """Measures a step without and with the compiler, one after the other on the same networks."""
    step = training_step(setting, method_config(method, setting.small), precision)
    plain = measured(setting, step, looks_inside=False)
    compile_segmentors(step.func.__self__)
    # Tiny networks are not worth the compiler's time: the switch is set, and nothing is traced.
    with torch.compiler.set_stance('force_eager' if setting.small else 'default'):
        found = measured(setting, step, looks_inside=not setting.small)
    return dict(eager_seconds=plain['seconds'], speedup=plain['seconds'] / found['seconds'], **found)


def measured(setting: Setting, step: partial, looks_inside: bool) -> Figures:
    """Measures a training step: its time, its peak of memory, and with ``looks_inside`` what it spends its time on."""
    for _ in range(0 if setting.small else 5):
        step()
    if setting.cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = median_seconds(setting, step, 1 if setting.small else 15)
    figures: Figures = dict(seconds=seconds, peak_gb=torch.cuda.max_memory_allocated() / 1e9 if setting.cuda else None)
    if looks_inside:
        busy = busy_seconds(step, setting)
        figures['busy_share'] = busy and min(busy / seconds, 1.0)
        figures.update(host_waits(step, setting))
        parts = time_parts(step.func.__self__, step, Stopwatch(setting.device))
        figures.update({f'milliseconds of {name}': value for name, value in parts.items()})
    return figures


def training_step(setting: Setting, config: Config, precision: str) -> partial:
    """Builds model, optimiser and a batch of 2 + 2 images, and returns what runs a step on them.

    Args:
        setting: Device and size.
        config: The config.
        precision: One of :data:`PRECISIONS`. bfloat16 is autocast; in float32 no kernel rounds to tf32.
    """
    set_tf32(precision)
    options = argparse.Namespace(device=setting.device, channels_last=False, compile=False,
                                 amp='bfloat16' if precision == 'bfloat16' else None)
    with DefaultScope.overwrite_default_scope('mmseg'):
        torch.manual_seed(0)
        model, optim_wrapper = build(config, options)
    size = tuple(config.model.segmentor.data_preprocessor.size)
    batch = synthetic_batch(size, 2, config.model.segmentor.decode_head.num_classes, seed=0)
    return partial(model.train_step, batch, optim_wrapper=optim_wrapper)


def set_tf32(precision: str) -> None:
    """Lets float32 products be rounded to tf32, or forbids it; beside bfloat16 as PyTorch has it by default."""
    torch.backends.cuda.matmul.allow_tf32 = precision == 'tf32'
    torch.backends.cudnn.allow_tf32 = precision != 'float32'


def median_seconds(setting: Setting, call: Callable[[], object], count: int) -> float:
    """Returns the median time of some calls, each from and to the end of all that is queued."""
    seconds = []
    for _ in range(count):
        stopwatch = Stopwatch(setting.device)
        stopwatch.mark('call')
        call()
        stopwatch.mark('end')
        seconds.append(stopwatch.milliseconds()['call'] / 1000)
    return statistics.median(seconds)


def free_memory(setting: Setting) -> None:
    """Gives back what is not used any more."""
    gc.collect()
    if setting.cuda:
        torch.cuda.empty_cache()
