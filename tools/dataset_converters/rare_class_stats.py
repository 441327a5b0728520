"""Counts the pixels of every class in the labels of any dataset, for rare class sampling.

Give a config (its training data is used: the source of a UDADataset), or a folder of label images. Writes
sample_class_stats.json, sample_class_stats_dict.json and samples_with_class.json.
"""
import argparse
import os

from mmengine.config import DictAction
from mmengine.registry import init_default_scope

from mmseg_cicld.command_line import one_line_errors, read_config
from mmseg_cicld.datasets.class_statistics import count_files, label_files, refuse_unknown_ids, write_statistics
from mmseg_cicld.datasets.conversion import find_files
from mmseg_cicld.datasets.label_audit import build_without_pipeline
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


def labels_of_config(args: argparse.Namespace) -> tuple[list[dict], int, str]:
    """Returns the label files of the training data of a config, its number of classes, and its data_root."""
    init_default_scope('mmseg')
    train = args.config.train_dataloader.dataset
    dataset = build_without_pipeline(train.get('source') or train, 'source')
    infos, folder = label_files(dataset), getattr(parts(dataset)[0], 'data_root', '') or '.'
    if args.out is None and not is_local(folder, storage_of(dataset)):
        raise ValueError(f'data_root={folder!r} is no folder of the disk: give --out FOLDER, and set '
                         'rare_class_sampling.stats of the config to the file that is written there')
    return infos, len(dataset.metainfo.get('classes') or ()), folder


def main() -> None:
    """Counts and writes what the command line asks for."""
    args = parse_args()
    with one_line_errors('rare_class_stats'):
        if args.config is not None:
            infos, num_classes, folder = labels_of_config(args)
        else:
            infos = [dict(seg_map_path=path) for path in find_files(args.labels, args.suffix)]
            num_classes, folder = 255, args.labels
        entries = count_files(infos, args.nproc)
        refuse_unknown_ids(entries, num_classes, infos[0].get('ignore_index', IGNORE_INDEX))
        write_statistics(entries, args.out or folder)
    print(f'statistics of {len(entries)} labels are in {os.path.join(args.out or folder, "sample_class_stats.json")}')


if __name__ == '__main__':
    main()
