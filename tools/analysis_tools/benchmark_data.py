"""Measures how fast one core loads the training data of a config, without data loader workers.

Reported: CPU time of a draw (a pair of source and target image), images a second and a core, and the share of decoding,
resizing, cropping, sampling and the rest of a draw. With --synthetic the images are rendered street scenes in a temporary
folder, in the sizes that the files of the config's data sets have, or as --size says.
"""
import argparse
import contextlib
import cProfile
import json
import os
import pstats
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.datasets import DrawKey
from mmseg_cicld.datasets.rendered_stand_ins import write_stand_ins

# Part of a draw -> functions whose time, with all that they call, it is. An inner one takes its time from an outer one.
PARTS = dict(
    decoding={('file_reading.py', 'decode_image'), ('file_reading.py', 'read_label_and_mode'),
              ('image_cache.py', '__getitem__')},
    resizing={('processing.py', '_resize_img'), ('transforms.py', '_resize_seg'), ('image_region.py', 'resized_region')},
    cropping={('transforms.py', 'crop_bbox'), ('sample_reading.py', 'draw_box'), ('image_region.py', 'count_ids')},
    sampling={('rare_class_sampling.py', 'draw'), ('uda_dataset.py', '__call__'), ('random_streams.py', 'numpy')})


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_options(parser)
    parser.add_argument('--synthetic', action='store_true', help='render images in place of those of the config')
    parser.add_argument('--images', type=int, default=8, help='images of each domain to render (default: %(default)s)')
    parser.add_argument('--size', type=int, nargs=2, metavar=('WIDTH', 'HEIGHT'), help='size of the images to render')
    parser.add_argument('--folder', help='where they are kept for the next time (default: removed at the end)')
    parser.add_argument('--draws', type=int, default=40, help='measured draws (default: %(default)s)')
    return parser


@contextlib.contextmanager
def stand_ins(config: dict, args: argparse.Namespace) -> Iterator[dict]:
    """Gives the dataset config, on rendered images if these are asked for."""
    dataset = config['train_dataloader']['dataset']
    if not args.synthetic:
        yield dataset
        return
    with contextlib.ExitStack() as stack:
        folder = args.folder or stack.enter_context(tempfile.TemporaryDirectory())
        yield write_stand_ins(dataset, Path(folder), args.images, args.size and tuple(args.size))


def milliseconds_of_parts(dataset: Dataset, draws: int) -> dict[str, float]:
    """Profiles draws and returns the CPU milliseconds of each part of one."""
    profile = cProfile.Profile(time.process_time)
    profile.enable()
    for position in range(draws):
        dataset[DrawKey(0, position)]
    profile.disable()
    stats = pstats.Stats(profile).stats
    part_of = {function: part for part, functions in PARTS.items() for function in functions}
    named = {key: part_of.get((os.path.basename(key[0]), key[2])) for key in stats}
    spent = dict.fromkeys([*PARTS, 'rest'], 0.0)
    for key, (_, _, _, cumulative, callers) in stats.items():
        part = named[key]
        # A function of another part that called this one does not count its time too.
        if part is not None:
            inner = sum(time_[3] for caller, time_ in callers.items() if named[caller] == part)
            spent[part] += cumulative - inner
            for caller, time_ in callers.items():
                if named[caller] not in (None, part):
                    spent[named[caller]] -= time_[3]
    spent['rest'] = sum(own for _, _, own, _, _ in stats.values()) - sum(spent.values())
    return {part: 1000 * seconds / draws for part, seconds in spent.items()}


def measure(config: Config, args: argparse.Namespace) -> dict:
    """Draws samples and returns what is printed."""
    init_default_scope('mmseg')
    if args.draws < 1:
        raise ValueError(f'--draws {args.draws}: give 1 or more')
    with stand_ins(config, args) as dataset_config:
        dataset = DATASETS.build(dataset_config)
        item = dataset[DrawKey(0, args.draws)]  # what is done once is done now
        spent = []
        for position in range(args.draws):
            start = time.process_time()
            dataset[DrawKey(0, position)]
            spent.append(1000 * (time.process_time() - start))
        parts = milliseconds_of_parts(dataset, args.draws)
    total = sum(parts.values())
    return dict(
        config=args.config, synthetic=args.synthetic, draws=args.draws, cache=dataset_config.get('cache'),
        images_a_draw={domain: list(sample['inputs'].shape) for domain, sample in item.items()},
        milliseconds_a_draw=dict(mean=round(statistics.mean(spent), 2), median=round(statistics.median(spent), 2)),
        images_a_second_and_core=round(1000 * len(item) / statistics.mean(spent), 1),
        shares={part: round(value / total, 3) for part, value in parts.items()}, opencv=cv2.__version__)


def sentence(result: dict) -> str:
    """Says the result in one line."""
    shares = ', '.join(f'{part} {100 * share:.0f} %' for part, share in result['shares'].items())
    return (f'{result["images_a_second_and_core"]} images a second and core, {result["milliseconds_a_draw"]["mean"]} ms of '
            f'a core a draw of {" and ".join(result["images_a_draw"])}: {shares}')


def main() -> None:
    """Measures and prints."""
    parser = make_parser()
    args = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    with one_line_errors('benchmark_data'):
        result = measure(load_config(parser, args), args)
        print(json.dumps(result, indent=2))
        print(sentence(result))


if __name__ == '__main__':
    main()
