"""Chooses a share of the images of a folder as the labelled ones, for training with few labels.

Writes their names, a line each, as `ann_file` of a dataset takes them: relative to the folder, without the suffix. The
same share, seed and files give the same list. The other images need no list: an unlabelled target takes all.
"""
import argparse
import os
from fractions import Fraction
from pathlib import Path

import numpy as np

from mmseg_cicld.atomic_files import replacing
from mmseg_cicld.command_line import one_line_errors
from mmseg_cicld.datasets.conversion import find_files
from mmseg_cicld.datasets.folder_dataset import IMAGE_SUFFIXES


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('images', help='folder of images, sub-folders included')
    parser.add_argument('--labelled', type=Path, required=True, help='text file to write')
    parser.add_argument('--share', default='1/8', help='share of the images, such as 1/16 or 0.1 (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='which images (default: %(default)s)')
    parser.add_argument('--suffix', nargs='+', default=list(IMAGE_SUFFIXES),
                        help='ends of the image names; they are left out of the list (default: common image formats)')
    return parser.parse_args()


def choose(names: list[str], share: str, seed: int) -> list[str]:
    """Returns a share of the names, at least one, in their order.

    Raises:
        ValueError: If the share is no number above 0 up to 1.
    """
    try:
        part = Fraction(share)
    except (ValueError, ZeroDivisionError):
        part = Fraction(0)
    if not 0 < part <= 1:
        raise ValueError(f'--share {share}: give a number above 0 up to 1, such as 1/8 or 0.1')
    count = max(1, round(part * len(names)))
    chosen = np.random.default_rng(seed).permutation(len(names))[:count]
    return [names[place] for place in sorted(chosen.tolist())]


def main() -> None:
    """Writes the list that the command line asks for."""
    args = parse_args()
    with one_line_errors('label_split'):
        found = find_files(args.images, tuple(args.suffix))
        names = sorted(os.path.relpath(path, args.images).replace(os.sep, '/') for path in found)
        bare = [name[:-len(next(suffix for suffix in args.suffix if name.endswith(suffix)))] for name in names]
        chosen = choose(bare, args.share, args.seed)
        args.labelled.parent.mkdir(parents=True, exist_ok=True)
        with replacing(args.labelled) as path:
            Path(path).write_text(''.join(f'{name}\n' for name in chosen), encoding='utf-8')
    print(f'{len(chosen)} of {len(names)} images are in {args.labelled}')


if __name__ == '__main__':
    main()
