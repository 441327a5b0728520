"""Measures the training step of a config on synthetic data and prints JSON.

Reported: iterations per second, milliseconds of each objective (forward and backward) and of the rest of the step
(teacher, optimiser), and peak memory (of the GPU's allocator, or of the process on a CPU; null on a CPU under Windows).
"""
import argparse
import json
import platform
import statistics
import time
from functools import partial

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.datasets import check_num_classes
from mmseg_cicld.engine.acceleration import compile_segmentors
from mmseg_cicld.engine.freed_memory import keep_freed_memory
from mmseg_cicld.engine.tunings import start_tunings

try:
    import resource
except ModuleNotFoundError:  # Windows has no count of it that Python reads
    resource = None


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument('--size', type=int, nargs=2, default=None, metavar=('HEIGHT', 'WIDTH'),
                        help="crop size; the data preprocessor's by default")
    parser.add_argument('--batch-size', type=int, default=2, help='images of each domain')
    parser.add_argument('--iterations', type=int, default=10, help='measured iterations')
    parser.add_argument('--warmup', type=int, default=3, help='iterations before measuring')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--threads', type=int, default=None, help='CPU threads, all by default')
    parser.add_argument('--amp', nargs='?', const='bfloat16', choices=['bfloat16', 'float16'], default=None)
    parser.add_argument('--channels-last', action='store_true', help='store 4-D weights and images channels last')
    parser.add_argument('--compile', action='store_true', help='compile backbones, necks and heads of all networks')
    return parser


def build(config: Config, args: argparse.Namespace) -> tuple[nn.Module, object]:
    """Builds model and optimiser wrapper of a config on the chosen device, without loading weights."""
    if args.device == 'cpu':
        keep_freed_memory()
    model = MODELS.build(config.model).to(args.device).train()
    start_tunings(model)
    if args.channels_last:
        model.to(memory_format=torch.channels_last)
    if args.compile:
        compile_segmentors(model)
    wrapper = dict(config.optim_wrapper)
    if args.amp == 'bfloat16':
        wrapper.update(type='AutocastOptimWrapper', dtype='bfloat16')
    elif args.amp == 'float16':
        wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    return model, build_optim_wrapper(model, wrapper)


def synthetic_batch(size: tuple[int, int], images: int, classes: int, seed: int) -> dict:
    """Makes a batch as the dataloader gives it: random pixels, labels in blocks of 32 pixels."""
    generator = torch.Generator().manual_seed(seed)
    batch: dict = {}
    for domain in ('source', 'target'):
        inputs, samples = [], []
        for _ in range(images):
            inputs.append(torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8))
            sample = SegDataSample(metainfo=dict(img_path='synthetic', img_shape=size, ori_shape=size))
            if domain == 'source':
                blocks = torch.randint(0, classes, (1, -(-size[0] // 32), -(-size[1] // 32)), generator=generator)
                label = blocks.repeat_interleave(32, dim=1).repeat_interleave(32, dim=2)[:, :size[0], :size[1]]
                sample.gt_sem_seg = PixelData(data=label)
            samples.append(sample)
        batch[domain] = dict(inputs=inputs, data_samples=samples)
    return batch


class Stopwatch:
    """Marks points of a step; the time up to the next mark belongs to the name of a mark."""

    def __init__(self, device: str) -> None:
        self.cuda = device.startswith('cuda')
        self.marks: list[tuple[str, float]] = []

    def mark(self, name: str) -> None:
        """Sets a mark, after all queued work is done."""
        if self.cuda:
            torch.cuda.synchronize()
        self.marks.append((name, time.perf_counter()))

    def milliseconds(self) -> dict[str, float]:
        """Returns the time that belongs to each name."""
        totals: dict[str, float] = {}
        for (name, start), (_, end) in zip(self.marks, self.marks[1:]):
            totals[name] = totals.get(name, 0.0) + 1000 * (end - start)
        return totals


def time_parts(model: nn.Module, step: partial, stopwatch: Stopwatch) -> dict[str, float]:
    """Runs one step and returns the milliseconds of each of its parts."""
    handles = [objective.register_forward_pre_hook(lambda module, args: stopwatch.mark(module.name))
               for objective in model.objectives]
    optimizer = step.keywords['optim_wrapper'].optimizer
    handles.append(optimizer.register_step_pre_hook(lambda *args: stopwatch.mark('optimiser')))
    stopwatch.mark('preprocessing and teacher update')
    step()
    stopwatch.mark('end')
    for handle in handles:
        handle.remove()
    return stopwatch.milliseconds()


def peak_memory(device: str) -> dict:
    """Returns the peak of the GPU's allocator, or of the resident memory of this process, in MiB, and which it is."""
    if device.startswith('cuda'):
        return dict(peak_memory_mib=round(torch.cuda.max_memory_allocated() / 2**20, 1), memory_of='GPU allocator')
    if resource is None:
        return dict(peak_memory_mib=None, memory_of='not counted by this system')
    return dict(peak_memory_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1), memory_of='process')


def main() -> None:
    """Measures and prints."""
    parser = make_parser()
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    with one_line_errors():
        print(json.dumps(measure(load_config(parser, args), args), indent=2))


def measure(config: Config, args: argparse.Namespace) -> dict:
    """Runs the training step of a config and returns what is printed."""
    init_default_scope('mmseg')
    check_num_classes(config)
    preprocessor = config.model.segmentor.data_preprocessor
    size = tuple(args.size or preprocessor.size)
    preprocessor.size = size
    model, optim_wrapper = build(config, args)
    batch = synthetic_batch(size, args.batch_size, model.student.decode_head.num_classes, seed=0)
    step = partial(model.train_step, batch, optim_wrapper=optim_wrapper)
    for _ in range(args.warmup):
        step()
    if args.device.startswith('cuda'):
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(args.iterations):
        stopwatch = Stopwatch(args.device)
        stopwatch.mark('step')
        step()
        stopwatch.mark('end')
        seconds.append(stopwatch.milliseconds()['step'] / 1000)
    memory = peak_memory(args.device)
    parts = time_parts(model, step, Stopwatch(args.device))
    cuda = args.device.startswith('cuda')
    return dict(
        config=args.config, size=size, batch_size=args.batch_size, amp=args.amp, channels_last=args.channels_last,
        compile=args.compile, device=torch.cuda.get_device_name() if cuda else platform.processor() or 'cpu',
        threads=torch.get_num_threads(), torch=torch.__version__,
        iterations_per_second=round(1 / statistics.median(seconds), 4),
        seconds_per_iteration=dict(median=round(statistics.median(seconds), 4), min=round(min(seconds), 4),
                                   max=round(max(seconds), 4)),
        **memory, milliseconds={name: round(value, 1) for name, value in parts.items()})


if __name__ == '__main__':
    main()
