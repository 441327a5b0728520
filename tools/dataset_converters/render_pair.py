"""Renders a pair of domains in the layout of own data. Runs again without harm: what is there is kept."""
import argparse

from mmseg_cicld.command_line import one_line_errors
from mmseg_cicld.datasets.rendered_pairs import PAIRS, PairCounts, render_pair
from mmseg_cicld.processor_cores import usable_cores


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('name', choices=sorted(PAIRS), help='the pair')
    parser.add_argument('out', help='output folder; gets source/, target/ and classes.json')
    defaults = PairCounts()
    for option, field in (('source-images', 'source_train'), ('target-images', 'target_train'),
                          ('target-val', 'target_val')):
        parser.add_argument(f'--{option}', dest=field, type=int, default=getattr(defaults, field), metavar='N',
                            help='number of images (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the set (default: %(default)s)')
    parser.add_argument('--nproc', type=int, default=usable_cores(),
                        help='number of processes (default: the cores this process may use, %(default)s)')
    return parser.parse_args()


def main() -> None:
    """Renders the pair that the command line asks for."""
    args = parse_args()
    counts = PairCounts(args.source_train, args.target_train, args.target_val)
    with one_line_errors('render_pair'):
        render_pair(args.name, args.out, counts, args.seed, args.nproc)


if __name__ == '__main__':
    main()
