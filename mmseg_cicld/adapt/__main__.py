"""Command line of ``tools/adapt.py``."""
import argparse
import sys
from functools import partial
from pathlib import Path

from ..command_line import one_line_errors
from ..progress import Progress
from .choices import ITERATIONS
from .data_description import DataDescription, described
from .data_file import read_data_file
from .methods import METHODS, SOURCE_FREE, SOURCE_ONLY
from .options import Options
from .report_stage import REPORT, SEGMENTOR
from .stages import plan_stages, run_adaptation
from .trained_model import model_classes


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(
        prog='adapt', description='Trains a segmentor on labelled source images and adapts it to unlabelled target '
        'images. Stopped at any moment, the same command goes on; what is finished is not repeated.')
    parser.add_argument('--source', nargs=2, type=Path, metavar=('IMAGES', 'LABELS'),
                        help='labelled images: folders of images and of 8-bit labels, one class id a pixel')
    parser.add_argument('--target', type=Path, metavar='IMAGES', help='images to adapt to')
    parser.add_argument('--target-labels', type=Path, metavar='LABELS',
                        help='labels of target images, or of some of them: for the score, never for training')
    parser.add_argument('--val', nargs=2, type=Path, metavar=('IMAGES', 'LABELS'),
                        help='labelled target images apart from those of --target, for the score')
    parser.add_argument('--classes', type=Path, metavar='FILE',
                        help='classes.txt, one name a line, the first has id 0; or classes.json with a palette')
    parser.add_argument('--data', type=Path, metavar='FILE', help='in place of the options above: a .yaml file with '
                        'path, train, target, val and names, or a .py file with data_root, metainfo, source, target '
                        'and val')
    parser.add_argument('--model', type=Path, metavar='TRAINED', help='in place of --source, with --method source_free: '
                        'a segmentor that is trained already, as a folder of export_segmentor.py, the work dir of a '
                        'training, or a .pth file')
    parser.add_argument('--config', type=Path, metavar='FILE', help='config of --model, a program: name none that you do '
                        'not trust (default: the .py file beside it)')
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
    (check_model_options if args.method == SOURCE_FREE else check_data_options)(parser, args)
    try:
        options = Options(args.work_dir, args.method, args.minutes, args.iterations, args.seed, model=args.model,
                          config=args.config)
    except ValueError as error:
        parser.error(str(error))
    # What libraries print goes elsewhere, so both are bound to the stream of now.
    shown = Progress(partial(print, file=sys.stdout, flush=True), sys.stdout, 'all')
    with one_line_errors('adapt'):
        data = described_by(args)
        try:
            with shown as progress:
                plan_stages(options, progress)
                summary = run_adaptation(options, data, progress)
        except (SystemExit, KeyboardInterrupt):
            print('\nadapt: stopped. Run the same command again to go on.', flush=True)
            raise
    for line in closing_lines(options, data, summary):
        print(f'adapt: {line}', flush=True)


def check_data_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Ends the program if the data are described twice, or not at all."""
    needed, others = dict(source='--source', target='--target', classes='--classes'), dict(
        target_labels='--target-labels', val='--val')
    given = [option for name, option in (needed | others).items() if getattr(args, name) is not None]
    if args.data is not None and given:
        parser.error(f'--data {args.data} describes the data, and so does {", ".join(given)}: give one of them')
    missing = [option for name, option in needed.items() if getattr(args, name) is None]
    if args.data is None and missing:
        parser.error(f'{", ".join(missing)} missing: give --source IMAGES LABELS --target IMAGES --classes FILE, or '
                     f'--data FILE; with --method {SOURCE_FREE}: --model TRAINED --target IMAGES')
    _check_labelled(parser, args)


def check_model_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Ends the program if a segmentor that is trained already gets source images, or no images to adapt to."""
    if args.source is not None or args.data is not None:
        parser.error(f'--method {SOURCE_FREE} takes no source images, but {"--source" if args.source else "--data"} '
                     'names some: leave it away, and give --model TRAINED --target IMAGES')
    if args.target is None:
        parser.error('--target missing: give --model TRAINED --target IMAGES')
    _check_labelled(parser, args)


def _check_labelled(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.val is not None and args.target_labels is not None:
        parser.error('--val and --target-labels both name labelled target images: give one of them')


def described_by(args: argparse.Namespace) -> DataDescription:
    """Reads what the command line says of the data."""
    if args.data is not None:
        return read_data_file(args.data)
    if args.model is not None:
        classes = model_classes(args.model, args.config, args.classes)
        return described(None, args.target, classes, args.target_labels, args.val)
    return described(args.source, args.target, args.classes, args.target_labels, args.val)


def closing_lines(options: Options, data: DataDescription, summary: dict) -> list[str]:
    """Returns the result, what has to be known, and what to type next."""
    config = options.work_dir / 'configs' / ('source_only.py' if options.method == SOURCE_ONLY else 'adaptation.py')
    checkpoint, folder = summary['checkpoint'], options.work_dir / SEGMENTOR
    commands = [f'predict: python tools/predict.py {folder} {data.target.images} --out {options.work_dir}/predictions']
    if data.validation is not None:
        commands.append(f'test:    python tools/test.py {config} {checkpoint}')
    commands += [f'onnx:    python tools/model_converters/export_onnx.py {config} {checkpoint} {folder}/segmentor.onnx',
                 f'train:   python tools/train.py {config}']
    return [result_line(summary), *(f'note: {note}' for note in summary['notes']),
            f'report:  {options.work_dir / REPORT}', *commands]


def result_line(summary: dict) -> str:
    """Says in a sentence what came out."""
    if summary['source_only_miou'] is None:
        return f'finished, without a score for want of target labels; checkpoint {summary["checkpoint"]}'
    adapted = ('' if summary['adapted_miou'] is None else
               f', adapted {summary["adapted_miou"]:.1f} mIoU ({summary["evaluated"]})')
    before = 'as given' if summary['method'] == SOURCE_FREE else 'source-only'
    return f'{before} {summary["source_only_miou"]:.1f} mIoU{adapted} on the labelled target images'


if __name__ == '__main__':
    main()
