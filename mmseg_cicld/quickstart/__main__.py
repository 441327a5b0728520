"""Command line of the quick start."""
import argparse
import sys
from functools import partial
from pathlib import Path

from ..command_line import one_line_errors
from ..progress import Progress
from .options import QuickstartOptions, claim_folder
from .stages import run_quickstart


def parse_args() -> QuickstartOptions:
    """Reads the command line."""
    defaults = QuickstartOptions()
    parser = argparse.ArgumentParser(
        prog='quickstart', description='Trains a small segmentor on rendered source images and adapts it to unlabelled '
        'target images. Running it again continues where it was stopped and reuses what is finished.')
    parser.add_argument('--work-dir', type=Path, default=defaults.work_dir,
                        help='output folder (default: %(default)s)')
    parser.add_argument('--data-root', type=Path, default=defaults.data_root,
                        help='folder of the street set, rendered if absent (default: %(default)s)')
    for name, text in dict(images='training images of each domain', source_iters='iterations of the source training',
                           adapt_iters='iterations of the adaptation', seed='seed of both trainings').items():
        parser.add_argument('--' + name.replace('_', '-'), type=int, default=getattr(defaults, name), metavar='N',
                            help=f'{text} (default: %(default)s)')
    try:
        return QuickstartOptions(**vars(parser.parse_args()))
    except ValueError as error:
        parser.error(str(error))


def main() -> None:
    """Runs all stages, or tells in a line why it cannot."""
    options = parse_args()
    # What libraries print goes elsewhere, so both are bound to the stream of now.
    shown = Progress(partial(print, file=sys.stdout, flush=True), sys.stdout, 'whole quick start')
    with one_line_errors('quickstart'):
        try:
            claim_folder(options)
            with shown as progress:
                result = run_quickstart(options, progress)
        except (SystemExit, KeyboardInterrupt):
            print('\nquickstart: stopped. Run the same command again to continue.', flush=True)
            raise
    print(f'quickstart: {result}', flush=True)


if __name__ == '__main__':
    main()
