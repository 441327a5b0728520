"""Converts masks whose colours say the class to labels with class ids. Runs again without harm: finished files are kept.

CLASSES is a JSON file {"classes": [names], "palette": [[r, g, b], ...]}: the first colour becomes 0. The labels have
the names of the masks, as PNG, in the same sub-folders.
"""
import argparse
import os
from functools import partial

from mmseg_cicld.command_line import one_line_errors
from mmseg_cicld.datasets.colour_masks import color_table, read_color_mask
from mmseg_cicld.datasets.conversion import Conversion, convert_files, find_files
from mmseg_cicld.datasets.folder_dataset import IMAGE_SUFFIXES, read_classes


def color(text: str) -> tuple[int, ...]:
    """Reads ``R,G,B``."""
    try:
        return tuple(int(part) for part in text.split(','))
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is no colour R,G,B') from None


def main() -> None:
    """Converts the masks that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('masks', help='folder of colour masks')
    parser.add_argument('labels', help='output folder')
    parser.add_argument('--classes', required=True, metavar='CLASSES', help='JSON file of classes and palette')
    parser.add_argument('--ignore', type=color, nargs='+', default=[], metavar='R,G,B',
                        help='colours that are not trained on: they become 255')
    parser.add_argument('--nproc', type=int, default=4, help='number of processes (default: %(default)s)')
    args = parser.parse_args()
    with one_line_errors('colour_masks'):
        found = read_classes(dict(classes=args.classes), '')
        if found.get('palette') is None or len(found['palette']) != len(found['classes']):
            raise ValueError(f'{args.classes} has no colour for each class: write {{"classes": [names], "palette": '
                             '[[r, g, b], ...]}')
        read = partial(read_color_mask, table=color_table(found['palette'], args.ignore))
        masks = find_files(args.masks, IMAGE_SUFFIXES)
        outputs = [os.path.join(args.labels, os.path.splitext(os.path.relpath(path, args.masks))[0] + '.png')
                   for path in masks]
        convert_files([Conversion(path, output, read) for path, output in zip(masks, outputs)], args.nproc)
    print(f'{len(masks)} labels in {args.labels}')


if __name__ == '__main__':
    main()
