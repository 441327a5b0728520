"""Command line of ``tools/adapt.py``."""
import argparse
import sys
from functools import partial
from pathlib import Path

from ..command_line import one_line_errors
from ..progress import Progress
from .choices import ITERATIONS
from .data_description import DataDescription, described
from .methods import METHODS, SOURCE_ONLY
from .options import Options
from .report_stage import SEGMENTOR
from .stages import result_line, run_adaptation


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(
        prog='adapt', description='Trains a segmentor on labelled source images and adapts it to unlabelled target '
        'images. Stopped at any moment, the same command goes on; what is finished is not repeated.')
    parser.add_argument('--source', nargs=2, type=Path, metavar=('IMAGES', 'LABELS'), required=True,
                        help='labelled images: folders of images and of 8-bit labels, one class id a pixel')
    parser.add_argument('--target', type=Path, metavar='IMAGES', required=True, help='images to adapt to')
    parser.add_argument('--target-labels', type=Path, metavar='LABELS',
                        help='labels of target images, or of some of them: for the score, never for training')
    parser.add_argument('--val', nargs=2, type=Path, metavar=('IMAGES', 'LABELS'),
                        help='labelled target images apart from those of --target, for the score')
    parser.add_argument('--classes', type=Path, metavar='FILE', required=True,
                        help='classes.txt, one name a line, the first has id 0; or classes.json with a palette')
    parser.add_argument('--work-dir', type=Path, required=True, metavar='DIR', help='folder of all results')
    parser.add_argument('--method', default='daformer', choices=METHODS, help='(default: %(default)s)')
    parser.add_argument('--minutes', type=float, metavar='N', help='about how long the trainings may take together')
    parser.add_argument('--iterations', type=int, metavar='N', help='iterations of both trainings together (default: '
                        f'{ITERATIONS["cpu"]} without, {ITERATIONS["cuda"]} with a GPU)')
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='(default: %(default)s)')
    return parser


def main() -> None:
    """Runs all stages, or tells in a line why it cannot."""
    parser = make_parser()
    args = parser.parse_args()
    try:
        options = Options(args.work_dir, args.method, args.minutes, args.iterations, args.seed)
    except ValueError as error:
        parser.error(str(error))
    # What libraries print goes elsewhere, so both are bound to the stream of now.
    shown = Progress(partial(print, file=sys.stdout, flush=True), sys.stdout, 'all')
    with one_line_errors('adapt'):
        data = described(args.source, args.target, args.classes, args.target_labels, args.val)
        try:
            with shown as progress:
                summary = run_adaptation(options, data, progress)
        except (SystemExit, KeyboardInterrupt):
            print('\nadapt: stopped. Run the same command again to go on.', flush=True)
            raise
    for line in closing_lines(options, data, summary):
        print(f'adapt: {line}', flush=True)


def closing_lines(options: Options, data: DataDescription, summary: dict) -> list[str]:
    """Returns the result, what has to be known, and what to type next."""
    config = options.work_dir / 'configs' / ('source_only.py' if options.method == SOURCE_ONLY else 'adaptation.py')
    checkpoint, folder = summary['checkpoint'], options.work_dir / SEGMENTOR
    commands = [f'predict: python tools/predict.py {folder} {data.target.images} --out {options.work_dir}/predictions']
    if data.validation is not None:
        commands.append(f'test:    python tools/test.py {config} {checkpoint}')
    commands += [f'onnx:    python tools/model_converters/export_onnx.py {config} {checkpoint} {folder}/segmentor.onnx',
                 f'train:   python tools/train.py {config}']
    return [result_line(summary), *(f'note: {note}' for note in summary['notes']), *commands]


if __name__ == '__main__':
    main()
