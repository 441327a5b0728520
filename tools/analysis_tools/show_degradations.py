"""Draws degradations of source and target images of a config, a row for each image and degradation, level by level."""
import argparse
from collections.abc import Callable
from pathlib import Path

import mmseg_cicld  # noqa: F401  isort: skip (repairs must come before mmseg is imported)

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS
from mmseg.utils import register_all_modules

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.datasets import DrawKey
from mmseg_cicld.visualization import compose_panel

DEGRADATIONS = dict(
    noise=dict(type='NoiseDegradation'),
    coarse_noise=dict(type='NoiseDegradation', noise_stride=4),
    blur=dict(type='BlurDegradation'),
    block=dict(type='MaskDegradation'),
    blob=dict(type='MaskDegradation', shape='blob'))


def add_degradation_options(parser: argparse.ArgumentParser) -> None:
    """Adds the config and which degradations its images go through, at which levels."""
    add_config_options(parser)
    parser.add_argument('--degradations', nargs='+', choices=sorted(DEGRADATIONS), default=list(DEGRADATIONS),
                        help='which ones (default: all)')
    parser.add_argument('--steps', type=int, default=100, help='number of levels (default: %(default)s)')
    parser.add_argument('--schedule', default='sigmoid',
                        help='of noise and masks: sigmoid, cosine or linear (default: %(default)s)')
    parser.add_argument('--columns', type=int, default=6, help='number of levels to look at (default: %(default)s)')


def chosen_levels(args: argparse.Namespace) -> list[int]:
    """Returns the levels of :func:`add_degradation_options`, from the first to the last."""
    return sorted(set(np.linspace(0, args.steps - 1, args.columns).round().astype(int).tolist()))


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_degradation_options(parser)
    parser.add_argument('--output', type=Path, default=Path('work_dirs/degradations.png'),
                        help='the picture (default: %(default)s)')
    parser.add_argument('--index', type=int, default=0, help='which pair of the training (default: %(default)s)')
    return parser


def build_degradation(name: str, steps: int, schedule: str) -> Callable:
    """Builds a degradation by its name on the command line."""
    config = dict(DEGRADATIONS[name], steps=steps)
    return MODELS.build(config if name == 'blur' else dict(config, schedule=schedule))


def degraded_row(image_1CHW: torch.Tensor, degradation: Callable, levels: list[int],
                 constants: tuple[torch.Tensor, torch.Tensor]) -> dict[str, np.ndarray]:
    """Degrades a normalised image at several levels with the same seed; tiles by title for :func:`compose_panel`."""
    mean, std = constants
    tiles = {}
    for level in levels:
        image_1CHW_degraded = degradation(image_1CHW, [level], [0]).images_BCHW * std + mean
        tile = image_1CHW_degraded[0].round().clamp(0, 255).to(torch.uint8)
        tiles[f'level {level}'] = np.ascontiguousarray(tile.permute(1, 2, 0).numpy())
    return tiles


def rows(cfg: Config, args: argparse.Namespace) -> list[dict[str, np.ndarray]]:
    """Returns the rows of the picture: for each degradation the source and the target image.

    Raises:
        ValueError: If the settings of a degradation are wrong.
    """
    item = DATASETS.build(cfg.train_dataloader.dataset)[DrawKey(0, args.index)]
    preprocessor = MODELS.build(cfg.model.get('segmentor', cfg.model).data_preprocessor)
    constants = preprocessor.mean[None], preprocessor.std[None]
    levels = chosen_levels(args)
    out = []
    for name in args.degradations:
        degradation = build_degradation(name, args.steps, args.schedule)
        for domain in (key for key in ('source', 'target') if key in item):
            image_CHW = item[domain]['inputs'].flip(0).float()
            image_1CHW = (image_CHW[None] - constants[0]) / constants[1]
            tiles = degraded_row(image_1CHW, degradation, levels, constants)
            first = np.ascontiguousarray(image_CHW.to(torch.uint8).permute(1, 2, 0).numpy())
            out.append({f'{name}, {domain}': first, **tiles})
    return out


def main() -> None:
    """Draws what the command line asks for."""
    parser = make_parser()
    args = parser.parse_args()
    if args.columns < 1 or args.index < 0:
        parser.error(f'--columns {args.columns} --index {args.index}: give at least 1 and at least 0')
    register_all_modules()
    cfg = load_config(parser, args)
    with one_line_errors('show_degradations'):
        panel = compose_panel(rows(cfg, args))
        args.output.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(args.output), cv2.cvtColor(panel, cv2.COLOR_RGB2BGR)):
            raise OSError(f'{args.output} cannot be written: is the disk full, or the folder protected?')
    print(f'{args.output}: source and target at {args.columns} of {args.steps} levels of {", ".join(args.degradations)}')


if __name__ == '__main__':
    main()
