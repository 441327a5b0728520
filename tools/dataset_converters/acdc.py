"""Puts the four conditions of ACDC together: rgb_anon/fog/train/SEQ/x.png appears as rgb_anon/train/SEQ/x.png.

DATA_ROOT holds rgb_anon/ and gt/ as extracted. Files are hard-linked where the file system can do so (no disk space
used), else copied; the originals stay. Runs again without harm: finished files are kept.
"""
import argparse
import os

from mmseg_cicld.command_line import one_line_errors
from mmseg_cicld.datasets.conversion import find_files, gather_files

CONDITIONS = ('fog', 'night', 'rain', 'snow')
SPLITS = ('train', 'val', 'test')


def list_files(data_root: str) -> list[tuple[str, str]]:
    """Lists each file of train, val and test with its place in the flat layout; reference images stay out."""
    pairs = []
    for kind, suffix in (('rgb_anon', '_rgb_anon.png'), ('gt', '_gt_labelTrainIds.png')):
        folder = os.path.join(data_root, kind)
        for path in find_files(folder, suffix):
            condition, split, rest = (os.path.relpath(path, folder).split(os.sep, 2) + ['', ''])[:3]
            if condition in CONDITIONS and split in SPLITS and rest:
                pairs.append((path, os.path.join(folder, split, rest)))
    if not pairs:
        raise ValueError(f'{data_root} has no rgb_anon/{{{",".join(CONDITIONS)}}}/{{{",".join(SPLITS)}}}: extract '
                         'rgb_anon_trainvaltest.zip and gt_trainval.zip of ACDC there')
    return pairs


def main() -> None:
    """Arranges the dataset that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data_root', help='folder with rgb_anon/ and gt/')
    parser.add_argument('--nproc', type=int, default=4, help='number of processes (default: %(default)s)')
    args = parser.parse_args()
    with one_line_errors('acdc'):
        gather_files(list_files(args.data_root), args.nproc)


if __name__ == '__main__':
    main()
