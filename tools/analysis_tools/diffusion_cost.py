"""Measures what diffusion costs and gives: mIoU, latency and memory by inference steps, and the inter-coder connection.

Writes tables (cost.md, cost.json) and a plot (cost.png). Latency is the median over repeated forwards of one image,
memory the peak of all tensors alive in one forward, weights included (those of a bypassed denoiser too).
"""
import argparse
import copy
import itertools
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import mmseg_cicld  # noqa: F401  isort: skip (repairs must come before mmseg is imported)

import matplotlib
import numpy as np
import torch
from estimate_memory import LiveBytes
from mmengine.config import Config
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS, MODELS
from mmseg.utils import register_all_modules
from torch import Tensor, nn

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.engine.evaluated_network import load_evaluated
from mmseg_cicld.models import LatentDiffusionHead

matplotlib.use('Agg')
from matplotlib import pyplot  # noqa: E402

Row = dict[str, float | int | str | bool | None]


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
    for module in segmentor.modules():
        if isinstance(module, LatentDiffusionHead) and module.denoiser is not None:
            return module
    raise ValueError('the config has no LatentDiffusionHead with a denoiser: there is no cost of diffusion to measure')


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


def mean_iou(segmentor: nn.Module, dataset, images: int | None) -> float:
    """Returns the mIoU in percent over the first images of a test set."""
    areas = 0
    for index in range(len(dataset) if images is None else min(images, len(dataset))):
        item = dataset[index]
        with torch.no_grad():
            result = segmentor.test_step(dict(inputs=[item['inputs']], data_samples=[item['data_samples']]))[0]
        found = IoUMetric.intersect_and_union(
            result.pred_sem_seg.data[0].cpu(), item['data_samples'].gt_sem_seg.data[0].cpu(),
            segmentor.num_classes, 255)
        areas = areas + np.stack([area.numpy() for area in found[:2]])
    with np.errstate(invalid='ignore'):
        return float(100 * np.nanmean(areas[0] / areas[1]))


def steps_table(cfg: Config, args: argparse.Namespace) -> list[Row]:
    """Measures each number of inference steps of one network."""
    segmentor = load_evaluated(cfg, args.checkpoint, args.device)
    head, dataset = diffusion_head(segmentor), DATASETS.build(cfg.test_dataloader.dataset)
    item = dataset[0]
    data = segmentor.data_preprocessor(dict(inputs=[item['inputs']], data_samples=[item['data_samples']]), False)
    rows: list[Row] = []
    for steps in args.steps:
        if steps == 0 and head.diffused == 'label':
            continue  # nothing would be left to decode
        head.inference = replace(head.inference, steps=steps)
        latency, memory = cost(segmentor, data['inputs'].to(args.device), args.repeats)
        score = None if args.checkpoint is None else mean_iou(segmentor, dataset, args.images)
        rows.append(dict(steps=steps, miou=score, latency_ms=latency, memory_mib=memory))
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
    def cell(value: float | int | str | bool | None) -> str:
        return '-' if value is None else f'{value:.2f}' if isinstance(value, float) else str(value)

    lines = ['| ' + ' | '.join(rows[0]) + ' |', '|---' * len(rows[0]) + '|']
    return '\n'.join(lines + ['| ' + ' | '.join(map(cell, row.values())) + ' |' for row in rows])


def plot(steps: list[Row], file: Path) -> None:
    """Draws mIoU (if measured), latency and memory over the number of steps."""
    keys = [key for key in ('miou', 'latency_ms', 'memory_mib') if steps[0][key] is not None]
    figure, axes = pyplot.subplots(1, len(keys), figsize=(4 * len(keys), 3), squeeze=False)
    for axis, key in zip(axes[0], keys):
        axis.plot([row['steps'] for row in steps], [row[key] for row in steps], marker='o')
        axis.set(xlabel='inference steps', ylabel=key)
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
        try:
            tables = dict(steps=steps_table(cfg, args), connection=connection_table(cfg, args))
        except ValueError as error:
            sys.exit(f'diffusion_cost: {error}')
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / 'cost.json').write_text(json.dumps(dict(tables, device=args.device), indent=1))
    text = '\n\n'.join(markdown(table) for table in tables.values() if table)
    (args.output / 'cost.md').write_text(text + '\n')
    plot(tables['steps'], args.output / 'cost.png')
    print(text)


if __name__ == '__main__':
    main()
