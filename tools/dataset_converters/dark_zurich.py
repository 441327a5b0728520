"""Arranges Dark Zurich: all rgb_anon/ and gt/ below the given folders appear in DATA_ROOT/rgb_anon and DATA_ROOT/gt.

The zips of Dark Zurich (train, val, test) may have been extracted side by side or into folders of their own. Files are
hard-linked where the file system can do so (no disk space used), else copied; the originals stay. Runs again without
harm: finished files are kept.
"""
import argparse
import os

from mmseg_cicld.command_line import one_line_errors
from mmseg_cicld.datasets.conversion import find_files, gather_files


def list_files(folders: list[str], data_root: str) -> list[tuple[str, str]]:
    """Lists each image and label with its place below ``data_root``."""
    pairs = {}
    for folder in folders:
        for path in find_files(folder, ('_rgb_anon.png', '_gt_labelTrainIds.png')):
            parts = os.path.relpath(path, folder).split(os.sep)
            kind = next((i for i, part in enumerate(parts) if part in ('rgb_anon', 'gt')), None)
            if kind is not None:
                pairs.setdefault(os.path.join(data_root, *parts[kind:]), path)
    if not pairs:
        raise ValueError(f'{folders} have no rgb_anon/ or gt/ with *_rgb_anon.png or *_gt_labelTrainIds.png: extract '
                         'the zips of Dark Zurich there')
    return [(path, output) for output, path in sorted(pairs.items())]


def main() -> None:
    """Arranges the dataset that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data_root', help='where to put the dataset, usually data/dark_zurich')
    parser.add_argument('extracted', nargs='*', help='folders with the extracted zips (default: DATA_ROOT itself)')
    parser.add_argument('--nproc', type=int, default=4, help='number of processes (default: %(default)s)')
    args = parser.parse_args()
    with one_line_errors('dark_zurich'):
        gather_files(list_files(args.extracted or [args.data_root], args.data_root), args.nproc)


if __name__ == '__main__':
    main()
