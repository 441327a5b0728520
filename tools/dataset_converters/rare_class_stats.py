"""Counts the pixels of every class in the labels of any dataset, for rare class sampling.

Give a config (its training data is used: the source of a UDADataset), or a folder of label images. Writes
sample_class_stats.json, sample_class_stats_dict.json and samples_with_class.json.
"""
import argparse
import os

from mmengine.config import DictAction
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

from mmseg_cicld.command_line import one_line_errors, read_config
from mmseg_cicld.datasets.class_statistics import count_files, label_files, refuse_unknown_ids, write_statistics
from mmseg_cicld.datasets.conversion import find_files
from mmseg_cicld.datasets.label_audit import build_without_pipeline
from mmseg_cicld.datasets.weighted_datasets import WeightedConcatDataset
from mmseg_cicld.datasets.wrapped_datasets import is_local, parts, storage_of
from mmseg_cicld.ignore_index import IGNORE_INDEX


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', help='config whose training data is counted')
    parser.add_argument('--labels', help='folder of label images, in place of a config')
    parser.add_argument('--suffix', default='.png', help='end of the label file names (default: %(default)s)')
    parser.add_argument('--out', help='output folder (default: data_root of the dataset, or the folder of labels)')
    parser.add_argument('--nproc', type=int, default=4, help='number of processes (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='KEY=VALUE changes of the config')
    args = parser.parse_args()
    if (args.config is None) == (args.labels is None):
        parser.error('give either a config or --labels FOLDER')
    if args.config is not None:
        args.config = read_config(parser, args.config, args.cfg_options)
    return args


def labels_of_config(args: argparse.Namespace) -> list[tuple[list[dict], int, str]]:
    """Returns for each dataset of the training data its label files, its number of classes, and the output folder."""
    init_default_scope('mmseg')
    train = args.config.train_dataloader.dataset
    dataset = build_without_pipeline(train.get('source') or train, 'source')
    datasets = dataset.datasets if isinstance(dataset, WeightedConcatDataset) else [dataset]
    if args.out is not None and len(datasets) > 1:
        raise ValueError(f'--out {args.out}: the config joins {len(datasets)} datasets, each of which keeps its statistics '
                         'in its own data_root: leave --out out')
    return [_labels_of(part, args.out) for part in datasets]


def _labels_of(dataset: Dataset, out: str | None) -> tuple[list[dict], int, str]:
    infos, folder = label_files(dataset), getattr(parts(dataset)[0], 'data_root', '') or '.'
    if out is None and not is_local(folder, storage_of(dataset)):
        raise ValueError(f'data_root={folder!r} is no folder of the disk: give --out FOLDER, and set '
                         'rare_class_sampling.stats of the config to the file that is written there')
    return infos, len(dataset.metainfo.get('classes') or ()), out or folder


def main() -> None:
    """Counts and writes what the command line asks for."""
    args = parse_args()
    with one_line_errors('rare_class_stats'):
        if args.config is not None:
            found = labels_of_config(args)
        else:
            infos = [dict(seg_map_path=path) for path in find_files(args.labels, args.suffix)]
            found = [(infos, 255, args.out or args.labels)]
        for infos, num_classes, folder in found:
            entries = count_files(infos, args.nproc)
            refuse_unknown_ids(entries, num_classes, infos[0].get('ignore_index', IGNORE_INDEX))
            write_statistics(entries, folder)
            print(f'statistics of {len(entries)} labels are in {os.path.join(folder, "sample_class_stats.json")}')


if __name__ == '__main__':
    main()
