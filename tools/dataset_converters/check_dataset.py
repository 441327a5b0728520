"""Looks at all data files of a config, or of a folder of labels, for what would stop or spoil a training.

Finds missing, empty and damaged files, labels of another size than their image, coloured labels, ids without a class,
0/255 masks, and labels where everything is ignored. Exits with 1 if it finds something.
"""
import argparse
import sys

from mmengine.config import DictAction
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_cicld.command_line import one_line_errors, read_config
from mmseg_cicld.datasets.label_audit import AuditReport, audit_dataset, training_datasets


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', help='config whose training and validation data is looked at')
    parser.add_argument('--images', help='folder of images, in place of a config')
    parser.add_argument('--labels', help='folder of their labels; leave out for unlabelled images')
    parser.add_argument('--classes', help='file with the class names, one a line (with --labels)')
    parser.add_argument('--max-files', type=int, help='look at so many files of each dataset only')
    parser.add_argument('--nproc', type=int, default=4, help='number of processes (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='KEY=VALUE changes of the config')
    args = parser.parse_args()
    if (args.config is None) == (args.images is None):
        parser.error('give either a config or --images FOLDER')
    if args.labels is not None and args.classes is None:
        parser.error('--labels needs --classes FILE, which says how many classes there are')
    if args.config is not None:
        args.config = read_config(parser, args.config, args.cfg_options)
    return args


def datasets_to_check(args: argparse.Namespace) -> list[tuple[str, object, bool]]:
    """Returns name, dataset and whether labels are looked at."""
    if args.config is not None:
        return training_datasets(args.config)
    prefix = dict(img_path=args.images) if args.labels is None else dict(img_path=args.images, seg_map_path=args.labels)
    metainfo = None if args.classes is None else dict(classes=args.classes)
    folder = DATASETS.build(dict(type='FolderDataset', data_prefix=prefix, metainfo=metainfo))
    return [('folder', folder, args.labels is not None)]


def main() -> None:
    """Checks what the command line asks for."""
    args = parse_args()
    init_default_scope('mmseg')
    reports: list[AuditReport] = []
    with one_line_errors('check_dataset'):
        for name, dataset, with_labels in datasets_to_check(args):
            reports.append(audit_dataset(dataset, args.max_files, args.nproc, name, with_labels, show_progress=True))
            print(reports[-1].table())
    sys.exit(0 if all(report.ok for report in reports) else 1)


if __name__ == '__main__':
    main()
