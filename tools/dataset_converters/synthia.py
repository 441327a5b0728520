"""Converts the labels of SYNTHIA-RAND-CITYSCAPES to training ids and counts classes for rare class sampling.

DATA_ROOT holds RGB/ and GT/LABELS/ as extracted (0000000.png ...). Writes GT/LABELS/*_labelTrainIds.png and the
class statistics. Runs again without harm: finished files are kept.
"""
import argparse
import os

from mmseg_cicld.command_line import one_line_errors
from mmseg_cicld.datasets.class_statistics import write_statistics
from mmseg_cicld.datasets.conversion import Conversion, convert_files, find_files, read_synthia


def main() -> None:
    """Converts the dataset that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data_root', help='folder with RGB/ and GT/LABELS/')
    parser.add_argument('--nproc', type=int, default=4, help='number of processes (default: %(default)s)')
    args = parser.parse_args()
    with one_line_errors('synthia'):
        # Published labels end in a digit; outputs of this program do not.
        labels = find_files(os.path.join(args.data_root, 'GT', 'LABELS'), '.png', lambda name: name[-5].isdigit())
        conversions = [Conversion(path, path[:-4] + '_labelTrainIds.png', read_synthia) for path in labels]
        write_statistics(convert_files(conversions, args.nproc), args.data_root)


if __name__ == '__main__':
    main()
