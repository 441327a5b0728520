"""Draws what a latent diffusion head does to test images: latents by principal components, and predictions by step."""
import argparse
import sys
from pathlib import Path

import mmseg_cicld  # noqa: F401  isort: skip (repairs must come before mmseg is imported)

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS
from mmseg.utils import register_all_modules

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.engine.evaluated_network import load_evaluated
from mmseg_cicld.visualization import compose_panel
from mmseg_cicld.visualization.latents import denoising_rows


def parse_args() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument('--checkpoint', type=Path,
                        help='checkpoint of a training with this config (default: random weights)')
    parser.add_argument('--output', type=Path, default=Path('work_dirs/denoising.png'),
                        help='the picture (default: %(default)s)')
    parser.add_argument('--indices', type=int, nargs='+', default=[0],
                        help='which images of the test set (default: the first)')
    parser.add_argument('--columns', type=int, default=5, help='number of steps to draw (default: %(default)s)')
    args = parser.parse_args()
    if args.columns < 1 or min(args.indices) < 0:
        parser.error(f'--columns {args.columns} --indices {args.indices}: give at least 1 and at least 0')
    return parser, args


def rows(cfg: Config, segmentor: torch.nn.Module, args: argparse.Namespace) -> list[dict[str, np.ndarray]]:
    """Returns two rows for each image: image and latents, label and predictions.

    Raises:
        ValueError: If the network does not denoise at one scale, or the test set has no such image.
    """
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    out = []
    for index in args.indices:
        if index >= len(dataset):
            raise ValueError(f'--indices {index}: the test set has {len(dataset)} images')
        item = dataset[index]
        picture_3HW, label_HW = item['inputs'].flip(0), item['data_samples'].gt_sem_seg.data[0]
        out += denoising_rows(segmentor, picture_3HW, ('label', label_HW), dataset.metainfo['palette'], args.columns)
    return out


def main() -> None:
    """Draws what the command line asks for."""
    parser, args = parse_args()
    register_all_modules()
    with one_line_errors():
        cfg = load_config(parser, args)
        with one_line_errors('show_denoising'):
            panel = compose_panel(rows(cfg, load_evaluated(cfg, args.checkpoint), args))
        args.output.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(args.output), cv2.cvtColor(panel, cv2.COLOR_RGB2BGR)):
            sys.exit(f'show_denoising: {args.output} cannot be written: is the disk full, or the folder protected?')
    print(f'{args.output}: latents and predictions of {len(args.indices)} images')


if __name__ == '__main__':
    main()
