"""Makes a cache of the training images of a config, decoded and resized, so that training need not do it in every draw.

Train with --cfg-options train_dataloader.dataset.cache=DIR. Samples are the same, bit for bit. Stopped at any moment, the
same command goes on; after a change of files or of the pipeline it makes again what has changed.
"""
import argparse
import contextlib
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.datasets.class_statistics import run_parallel
from mmseg_cicld.datasets.image_cache import (cacheable, chunk_paths, chunks, files_of, look_at_chunk, settings_of,
                                              write_chunk)

CACHED = ('UDADataset', 'UnlabelledDataset')


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_options(parser)
    parser.add_argument('--out', required=True, help='folder of the cache')
    parser.add_argument('--nproc', type=int, default=4, help='number of processes (default: %(default)s)')
    parser.add_argument('--shard', type=int, nargs=2, default=(0, 1), metavar=('I', 'N'),
                        help='make part I (from 0) of N, each on a machine of its own')
    return parser


def build(config: dict) -> Dataset:
    """Builds the training dataset of a config, without what it needs beside images and labels."""
    dataset = config['train_dataloader']['dataset']
    if dataset['type'] not in CACHED:
        raise ValueError(f'train_dataloader.dataset is a {dataset["type"]}: a cache serves {" and ".join(CACHED)}')
    return DATASETS.build({key: value for key, value in dataset.items() if key not in ('rare_class_sampling', 'cache')})


@contextlib.contextmanager
def alone(folder: Path, shard: tuple[int, int]) -> Iterator[None]:
    """Holds a shard of a cache for this program."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f'shard {shard[0]} of {shard[1]}'
    try:
        with FileLock(folder / f'.{name.replace(" ", "-")}.lock', timeout=0):
            yield
    except Timeout as error:
        raise ValueError(f'another program is making {name} of the cache in {folder}: wait for it, or stop it') from error


def fill(folder: Path, part: Dataset, ignore_index: int, shard: tuple[int, int], nproc: int) -> tuple[int, int]:
    """Makes the missing chunks of one dataset that belong to a shard; returns samples made, and samples of the shard."""
    plan, files = cacheable(part, ignore_index), files_of(part)
    settings = settings_of(plan, part)
    own = list(chunks(files))[shard[0]::shard[1]]
    missing = [chunk for chunk in own if look_at_chunk(folder, *chunk, settings)[0]]
    for left in [left for first, _ in missing for path in chunk_paths(folder, first)
                 for left in folder.glob(f'.{path.name}.*.tmp')]:
        left.unlink(missing_ok=True)  # of a program that was killed
    count = sum(len(stamps) for _, stamps in missing)
    if missing:
        tasks = [(str(folder), first, stamps, [part.get_data_info(first + i) for i in range(len(stamps))])
                 for first, stamps in missing]
        refuse_full_disk(folder, plan.whole(tasks[0][3][0].copy()), count)
        run_parallel(partial(write_chunk, plan=plan, settings=settings), tasks, nproc, f'Caching {folder}')
    return count, sum(len(stamps) for _, stamps in own)


def refuse_full_disk(folder: Path, sample: dict, count: int) -> None:
    """Raises ValueError if a disk has no room for so many samples of a size."""
    one = sample['img'].size + (sample['gt_seg_map'].size if 'gt_seg_map' in sample else 0)
    needed, free = one * count / 2**30, shutil.disk_usage(next(p for p in folder.parents if p.exists())).free / 2**30
    if needed > free:
        raise ValueError(f'the cache in {folder} needs about {needed:.1f} GiB, its disk has {free:.1f} GiB: give --out on a '
                         'larger disk')


def main() -> None:
    """Makes what the command line asks for."""
    parser = make_parser()
    args = parser.parse_args()
    with one_line_errors('cache_dataset'):
        shard = tuple(args.shard)
        if not 0 <= shard[0] < shard[1]:
            raise ValueError(f'--shard {shard[0]} {shard[1]}: the first must be from 0 to one below the second')
        init_default_scope('mmseg')
        dataset = build(load_config(parser, args))
        with alone(Path(args.out), shard):
            for name, domain in dataset.domains.items():
                for place, part in enumerate(domain.parts):
                    made, own = fill(Path(args.out, name, str(place)), part, domain.ignore_index, shard, args.nproc)
                    print(f'{name} {place}: {made} of {own} samples made, the others were there'
                          f' ({os.path.join(args.out, name, str(place))})')
        print(f'train with --cfg-options train_dataloader.dataset.cache={args.out}')


if __name__ == '__main__':
    main()
