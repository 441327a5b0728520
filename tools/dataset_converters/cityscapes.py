"""Converts the labels of Cityscapes to training ids and counts the classes of train for rare class sampling.

DATA_ROOT holds leftImg8bit/ and gtFine/ as extracted. Every *_gtFine_labelIds.png, or *_gtFine_polygons.json where
there is none, gives *_gtFine_labelTrainIds.png. Also writes train.txt, val.txt, test.txt and the class statistics.
Runs again without harm: finished files are kept.
"""
import argparse
import os

from mmseg_cicld.command_line import one_line_errors
from mmseg_cicld.datasets.class_statistics import write_statistics
from mmseg_cicld.datasets.conversion import (Conversion, convert_files, find_files, read_cityscapes_ids,
                                             read_cityscapes_polygons)
from mmseg_cicld.datasets.file_writing import write_bytes

OUTPUT = '_gtFine_labelTrainIds.png'
READERS = {'_gtFine_polygons.json': read_cityscapes_polygons, '_gtFine_labelIds.png': read_cityscapes_ids}


def list_conversions(folder: str) -> list[Conversion]:
    """Lists what to convert; label ids win over polygons, which take longer to draw."""
    chosen: dict[str, Conversion] = {}
    found = find_files(folder, tuple(READERS))
    for suffix, read in READERS.items():
        for path in (path for path in found if path.endswith(suffix)):
            output = path[:-len(suffix)] + OUTPUT
            chosen[output] = Conversion(path, output, read)
    return [chosen[output] for output in sorted(chosen)]


def write_splits(data_root: str, conversions: list[Conversion]) -> None:
    """Writes the names of the images of each split, as ``ann_file`` of a dataset takes them."""
    names: dict[str, list[str]] = {}
    for conversion in conversions:
        split, name = os.path.relpath(conversion.output, os.path.join(data_root, 'gtFine')).split(os.sep, 1)
        names.setdefault(split, []).append(name[:-len(OUTPUT)].replace(os.sep, '/'))
    for split, lines in names.items():
        write_bytes(os.path.join(data_root, f'{split}.txt'), ('\n'.join(lines) + '\n').encode())


def main() -> None:
    """Converts the dataset that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data_root', help='folder with leftImg8bit/ and gtFine/')
    parser.add_argument('--nproc', type=int, default=4, help='number of processes (default: %(default)s)')
    args = parser.parse_args()
    with one_line_errors('cityscapes'):
        conversions = list_conversions(os.path.join(args.data_root, 'gtFine'))
        entries = convert_files(conversions, args.nproc)
        write_splits(args.data_root, conversions)
        train = [entry for entry in entries if '/train/' in entry['file']]
        if train:
            write_statistics(train, args.data_root)


if __name__ == '__main__':
    main()
