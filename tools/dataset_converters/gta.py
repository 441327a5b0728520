"""Converts the labels of GTA5 to training ids and counts classes for rare class sampling.

DATA_ROOT holds images/ and labels/ as extracted (00001.png ...). Writes labels/*_labelTrainIds.png and the class
statistics. Runs again without harm: finished files are kept.
"""
import argparse
import os

from mmseg_cicld.command_line import one_line_errors
from mmseg_cicld.datasets.class_statistics import write_statistics
from mmseg_cicld.datasets.conversion import Conversion, convert_files, find_files, read_gta


def main() -> None:
    """Converts the dataset that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data_root', help='folder with images/ and labels/')
    parser.add_argument('--nproc', type=int, default=4, help='number of processes (default: %(default)s)')
    args = parser.parse_args()
    with one_line_errors('gta'):
        # Published labels end in a digit; outputs of this program do not.
        labels = find_files(os.path.join(args.data_root, 'labels'), '.png', lambda name: name[-5].isdigit())
        conversions = [Conversion(path, path[:-4] + '_labelTrainIds.png', read_gta) for path in labels]
        write_statistics(convert_files(conversions, args.nproc), args.data_root)


if __name__ == '__main__':
    main()
