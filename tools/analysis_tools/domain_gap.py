"""Prints how well source and target images of a config can be told apart, level by level of degradations.

DiDA expects domains to come closer to each other the more an image is degraded. A linear discriminant is fitted to
one half of the training pairs and says of the other half which domain an image is of: 50 % is chance. It sees the mean
of each colour, its standard deviation (contrast), and how much it differs from its 3 x 3 neighbourhood (texture).

Shape suffixes: B images, C colours, H and W image size, N statistics of an image.
"""
import argparse

import mmseg_cicld  # noqa: F401  isort: skip (repairs must come before mmseg is imported)

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS
from mmseg.utils import register_all_modules
from show_degradations import add_degradation_options, build_degradation, chosen_levels
from torch import Tensor

from mmseg_cicld.command_line import load_config, one_line_errors
from mmseg_cicld.datasets import DrawKey


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_degradation_options(parser)
    parser.add_argument('--pairs', type=int, default=200, help='training pairs to look at (default: %(default)s)')
    return parser


def image_pairs(cfg: Config, pairs: int) -> dict[str, Tensor]:
    """Returns training images of both domains, normalised as the config says, by domain float [pairs, 3, H, W].

    Raises:
        ValueError: If the config has no target images.
    """
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    preprocessor = MODELS.build(cfg.model.get('segmentor', cfg.model).data_preprocessor)
    items = [dataset[DrawKey(0, index)] for index in range(pairs)]
    if 'target' not in items[0]:
        raise ValueError('the config has no target images: give one that adapts (train_dataloader.dataset.target)')
    return {domain: preprocessor(dict(inputs=[item[domain]['inputs'] for item in items]))['inputs']
            for domain in ('source', 'target')}


def statistics(images_BCHW: Tensor) -> dict[str, Tensor]:
    """Returns what the discriminant sees of normalised images, by name: [B, C] each, ``all`` of them [B, 3 C]."""
    detail_BCHW = images_BCHW - F.avg_pool2d(images_BCHW, 3, stride=1, padding=1, count_include_pad=False)
    seen = dict(colour=images_BCHW.mean((2, 3)), contrast=images_BCHW.std((2, 3)),
                texture=(detail_BCHW.abs().mean((2, 3)) + 1e-6).log())
    return seen | dict(all=torch.cat(list(seen.values()), dim=1))


def told_apart(source_BN: Tensor, target_BN: Tensor) -> float:
    """Fits Fisher's linear discriminant to the first half of the images and tests it on the second.

    Args:
        source_BN: Statistics of source images, at least four of them.
        target_BN: Statistics of as many target images.

    Returns:
        Accuracy in percent, 50 for chance.
    """
    half = len(source_BN) // 2
    fitted = [values_BN[:half].double() for values_BN in (source_BN, target_BN)]
    means = [values_BN.mean(0) for values_BN in fitted]
    spread_NN = sum(torch.cov(values_BN.T) for values_BN in fitted)
    ridge = 1e-6 * spread_NN.diagonal().mean() + 1e-12  # a statistic may be constant: black images, for one
    direction_N = torch.linalg.solve(spread_NN + ridge * torch.eye(len(spread_NN)).double(), means[1] - means[0])
    threshold = direction_N @ (means[0] + means[1]) / 2
    right = [(values_BN[half:].double() @ direction_N > threshold) == is_target
             for values_BN, is_target in ((source_BN, False), (target_BN, True))]
    return 100 * torch.cat(right).double().mean().item()


def table(images: dict[str, Tensor], args: argparse.Namespace) -> str:
    """Returns a Markdown table: a row for each degradation and statistic, a column for each level.

    Raises:
        ValueError: If the settings of a degradation are wrong.
    """
    levels = chosen_levels(args)
    seeds = dict(source=list(range(args.pairs)), target=list(range(args.pairs, 2 * args.pairs)))
    lines = ['| told apart by | ' + ' | '.join(f'level {level}' for level in levels) + ' |',
             '|---' * (len(levels) + 1) + '|']
    for name in args.degradations:
        degradation = build_degradation(name, args.steps, args.schedule)
        seen = [[statistics(degradation(images[domain], [level] * args.pairs, seeds[domain]).images_BCHW)
                 for domain in ('source', 'target')] for level in levels]
        for what in seen[0][0]:
            accuracies = (f'{told_apart(source[what], target[what]):.0f} %' for source, target in seen)
            lines.append(f'| {name}: {what} | ' + ' | '.join(accuracies) + ' |')
    return '\n'.join(lines)


def main() -> None:
    """Prints the table."""
    parser = make_parser()
    args = parser.parse_args()
    if args.columns < 1 or args.pairs < 20:
        parser.error(f'--columns {args.columns} --pairs {args.pairs}: give at least 1 and at least 20')
    register_all_modules()
    cfg = load_config(parser, args)
    with one_line_errors('domain_gap'):
        print(table(image_pairs(cfg, args.pairs), args))


if __name__ == '__main__':
    main()
