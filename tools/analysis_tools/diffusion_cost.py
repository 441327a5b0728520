"""Measures what diffusion costs and gives: mIoU, latency and memory by inference steps, and the inter-coder connection.

Writes tables (cost.md, cost.json) and a plot of each (cost.png, connection.png). mIoU is what the test_evaluator of the
config calls so; the means over its subsets of classes stand beside it. Latency is the median over repeated forwards of
one image, memory the peak of all tensors alive in one forward, weights included (those of a bypassed denoiser too). A
network without a denoiser has a single row, that of 0 steps.
"""
import argparse
import copy
import itertools
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import mmseg_cicld  # noqa: F401  isort: skip (repairs must come before mmseg is imported)

import matplotlib
import torch
from estimate_memory import LiveBytes
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.evaluator import Evaluator
from mmseg.registry import DATASETS, MODELS
from mmseg.utils import register_all_modules
from torch import Tensor, nn

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.engine.evaluated_network import load_evaluated
from mmseg_cicld.models import LatentDiffusionHead

matplotlib.use('Agg')
from matplotlib import pyplot

Row = dict[str, float | int | str | bool]


def parse_args() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument('--checkpoint', type=Path,
                        help='checkpoint of a training with this config; without it there is no mIoU')
    parser.add_argument('--output', type=Path, default=Path('work_dirs/diffusion_cost'),
                        help='folder of tables and plot (default: %(default)s)')
    parser.add_argument('--steps', type=int, nargs='+', default=[0, 1, 2, 3, 5, 10, 20, 50],
                        help='numbers of inference steps, 0 bypasses the denoiser (default: %(default)s)')
    parser.add_argument('--images', type=int, help='how many images of the test set give the mIoU (default: all)')
    parser.add_argument('--sizes', nargs='+', default=['256x512', '512x1024'], metavar='HxW',
                        help='image sizes for the cost of the inter-coder connection (default: %(default)s)')
    parser.add_argument('--classes', type=int, nargs='+', default=[19, 150],
                        help='numbers of classes for the same (default: %(default)s)')
    parser.add_argument('--repeats', type=int, default=5, help='forwards per latency (default: %(default)s)')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    return parser, parser.parse_args()


def diffusion_head(segmentor: nn.Module) -> LatentDiffusionHead:
    """Returns the head that denoises, also from inside a two-scale head."""
    for module in segmentor.modules():  # of a two-scale head its own parts come before its attention
        if isinstance(module, LatentDiffusionHead):
            return module
    raise ValueError('the config has no LatentDiffusionHead: there is no cost of diffusion to measure')


def possible_steps(head: LatentDiffusionHead, wanted: Sequence[int]) -> list[int]:
    """Returns the numbers of inference steps that a head can predict with, and prints why others are left out."""
    if head.denoiser is None:
        print('the config has no denoiser (decode_head.denoiser=None): it is measured with 0 steps alone')
        return [0]
    if head.diffused == 'image' or 0 not in wanted:
        return list(wanted)
    reason = "decode_head.diffused='label' without the denoiser leaves nothing to decode"
    if set(wanted) == {0}:
        raise ValueError(f'{reason}: --steps is {list(wanted)}, give numbers from 1 on')
    print(f'{reason}: 0 steps are left out')
    return [steps for steps in wanted if steps]


@torch.no_grad()
def cost(segmentor: nn.Module, image_1CHW: Tensor, repeats: int) -> tuple[float, float]:
    """Returns latency in milliseconds and peak memory in MiB of one forward."""
    meta = [dict(img_shape=tuple(image_1CHW.shape[2:]), ori_shape=tuple(image_1CHW.shape[2:]))]
    times = []
    for _ in range(repeats + 1):  # the first one warms up
        if image_1CHW.is_cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        segmentor.encode_decode(image_1CHW, meta)
        if image_1CHW.is_cuda:
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - start))
    live = LiveBytes()
    for tensor in itertools.chain(segmentor.parameters(), segmentor.buffers(), [image_1CHW]):
        live.add(tensor)
    with live:
        segmentor.encode_decode(image_1CHW, meta)
    return statistics.median(times[1:]), live.peak / 2**20


def mean_ious(segmentor: nn.Module, dataset: BaseDataset, evaluator: dict | list[dict],
              images: int | None) -> dict[str, float]:
    """Returns the mean IoUs in percent that an evaluator of a config gives for the first images of a test set.

    Raises:
        ValueError: If it gives none.
    """
    judge, count = Evaluator(evaluator), len(dataset) if images is None else min(images, len(dataset))
    judge.dataset_meta = dataset.metainfo
    for index in range(count):
        item = dataset[index]
        data = dict(inputs=[item['inputs']], data_samples=[item['data_samples']])
        with torch.no_grad():
            judge.process(segmentor.test_step(data), data)
    scores = judge.evaluate(count)
    found = {name: float(value) for name, value in scores.items() if 'mIoU' in name}
    if not found:
        raise ValueError(f'test_evaluator of the config gives no mIoU, but {sorted(scores)}: set it to '
                         "dict(type='IoUMetric', iou_metrics=['mIoU']), or leave --checkpoint out")
    return found


def steps_table(cfg: Config, args: argparse.Namespace) -> list[Row]:
    """Measures each number of inference steps of one network."""
    segmentor = load_evaluated(cfg, args.checkpoint, args.device)
    head, dataset = diffusion_head(segmentor), DATASETS.build(cfg.test_dataloader.dataset)
    item = dataset[0]
    data = segmentor.data_preprocessor(dict(inputs=[item['inputs']], data_samples=[item['data_samples']]), False)
    rows: list[Row] = []
    for steps in possible_steps(head, args.steps):
        head.inference = replace(head.inference, steps=steps)
        latency, memory = cost(segmentor, data['inputs'].to(args.device), args.repeats)
        scores = {} if args.checkpoint is None else mean_ious(segmentor, dataset, cfg.test_evaluator, args.images)
        rows.append(dict(steps=steps, **scores, latency_ms=latency, memory_mib=memory))
        print(rows[-1], flush=True)
    return rows


def connection_table(cfg: Config, args: argparse.Namespace) -> list[Row]:
    """Measures the network with and without inter-coder connection, denoiser bypassed, for sizes and classes."""
    plain, rows = copy.deepcopy(cfg.model.get('segmentor', cfg.model)), []
    neck, head = plain.neck, plain.decode_head
    plain.backbone.init_cfg = None
    for size, classes, connect in itertools.product(args.sizes, args.classes, (False, True)):
        neck.connect = connect
        skips = list(neck.skip_channels) if connect else []
        head.update(in_channels=[*skips, neck.latent_channels], denoiser=None, num_classes=classes)
        segmentor = MODELS.build(copy.deepcopy(plain)).to(args.device)
        segmentor.train(False)
        height, width = (int(side) for side in size.split('x'))
        latency, memory = cost(segmentor, torch.zeros(1, 3, height, width, device=args.device), args.repeats)
        parameters = sum(parameter.numel() for parameter in segmentor.decode_head.parameters()) / 1e6
        rows.append(dict(size=size, classes=classes, connect=connect, latency_ms=latency, memory_mib=memory,
                         head_parameters_m=parameters))
        print(rows[-1], flush=True)
    return rows


def markdown(rows: list[Row]) -> str:
    """Lays rows of equal keys out as a Markdown table."""
    def cell(value: float | int | str | bool) -> str:
        return f'{value:.2f}' if isinstance(value, float) else str(value)

    lines = ['| ' + ' | '.join(rows[0]) + ' |', '|---' * len(rows[0]) + '|']
    return '\n'.join(lines + ['| ' + ' | '.join(map(cell, row.values())) + ' |' for row in rows])


def plot_steps(rows: list[Row], file: Path) -> None:
    """Draws mIoU (if measured), latency and memory over the number of steps."""
    keys = [key for key in rows[0] if key != 'steps']
    figure, axes = pyplot.subplots(1, len(keys), figsize=(4 * len(keys), 3), squeeze=False)
    for axis, key in zip(axes[0], keys):
        axis.plot([row['steps'] for row in rows], [row[key] for row in rows], marker='o')
        axis.set(xlabel='inference steps', ylabel=key)
    figure.tight_layout()
    figure.savefig(file)


def plot_connection(rows: list[Row], file: Path) -> None:
    """Draws latency and memory over the image sizes; each number of classes has a line with and one without."""
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.5))
    for axis, key in zip(axes, ('latency_ms', 'memory_mib')):
        for classes, connect in sorted({(row['classes'], row['connect']) for row in rows}):
            line = [row for row in rows if (row['classes'], row['connect']) == (classes, connect)]
            axis.plot([row['size'] for row in line], [row[key] for row in line], '-o' if connect else '--o',
                      label=f'{classes} classes, {"connected" if connect else "without"}')
        axis.set(xlabel='image size', ylabel=key)
    axes[0].legend(fontsize='small')
    figure.tight_layout()
    figure.savefig(file)


def main() -> None:
    """Measures and writes."""
    parser, args = parse_args()
    if min(args.steps) < 0 or args.repeats < 1 or any(len(size.split('x')) != 2 for size in args.sizes):
        parser.error('--steps are numbers from 0 on, --repeats from 1 on, --sizes look like 512x1024')
    register_all_modules()
    with one_line_errors():
        cfg = load_config(parser, args)
        with one_line_errors('diffusion_cost'):
            tables = dict(steps=steps_table(cfg, args), connection=connection_table(cfg, args))
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / 'cost.json').write_text(json.dumps(dict(tables, device=args.device), indent=1))
    text = '\n\n'.join(markdown(table) for table in tables.values())
    (args.output / 'cost.md').write_text(text + '\n')
    plot_steps(tables['steps'], args.output / 'cost.png')
    plot_connection(tables['connection'], args.output / 'connection.png')
    print(text)


if __name__ == '__main__':
    main()
