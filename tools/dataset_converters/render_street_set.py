"""Renders the two-domain street set of the quick start. Runs again without harm: what is there is kept."""
import argparse

from mmseg_cicld.command_line import one_line_errors
from mmseg_cicld.datasets.street_set import StreetCounts, render_street_set
from mmseg_cicld.processor_cores import usable_cores


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', help='output folder; gets source/ and target/ in the layout of Cityscapes')
    defaults = StreetCounts()
    for name in ('source_train', 'source_val', 'target_train', 'target_val'):
        parser.add_argument('--' + name.replace('_', '-'), type=int, default=getattr(defaults, name), metavar='N',
                            help='number of images (default: %(default)s)')
    parser.add_argument('--size', type=int, nargs=2, default=(256, 128), metavar=('WIDTH', 'HEIGHT'),
                        help='image size in pixels (default: 256 128)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the set (default: %(default)s)')
    parser.add_argument('--nproc', type=int, default=usable_cores(),
                        help='number of processes (default: the cores this process may use, %(default)s)')
    return parser.parse_args()


def main() -> None:
    """Renders the set that the command line asks for."""
    args = parse_args()
    counts = StreetCounts(args.source_train, args.source_val, args.target_train, args.target_val)
    with one_line_errors('render_street_set'):
        render_street_set(args.out, counts, tuple(args.size), args.seed, args.nproc)


if __name__ == '__main__':
    main()
