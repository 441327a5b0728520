"""Writes the report of a training as one HTML file: curves, scores by class, predictions, what to type next.

WORK_DIR is the folder of any training of this package or of MMSegmentation, finished or not.
"""
import argparse
from pathlib import Path

import mmseg_cicld  # noqa: F401  isort: skip (repairs must come before mmseg is imported)

import torch
from mmengine.config import Config
from mmseg.utils import register_all_modules

from mmseg_cicld.command_line import one_line_errors, read_config
from mmseg_cicld.engine.report_examples import write_examples
from mmseg_cicld.visualization import ReportError, write_training_report
from mmseg_cicld.visualization.next_commands import best_checkpoint, last_checkpoint, training_config
from mmseg_cicld.visualization.training_record import read_record


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', type=Path, metavar='WORK_DIR', help='folder of a training; its config is a program: '
                        'give --images 0 for one that you do not trust')
    parser.add_argument('--source-only', type=Path, metavar='WORK_DIR', help='the training on the source alone, to '
                        'compare with')
    parser.add_argument('--oracle', type=Path, metavar='WORK_DIR', help='the training on target labels: the upper bound')
    parser.add_argument('--images', type=int, default=4, metavar='N', help='validation images to predict, 0 for none '
                        '(default: %(default)s)')
    parser.add_argument('--checkpoint', choices=['last', 'best'], default='last', help='which one predicts them '
                        '(default: %(default)s)')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='(default: %(default)s)')
    return parser


def trained(parser: argparse.ArgumentParser, work_dir: Path, checkpoint: str) -> tuple[Config, Path]:
    """Returns config and checkpoint of a training.

    Raises:
        ReportError: If its folder lacks one of them.
    """
    config = training_config(work_dir, read_record(work_dir))
    weights = (best_checkpoint if checkpoint == 'best' else last_checkpoint)(work_dir)
    for found, what in ((config, 'config (*.py)'), (weights, f'{checkpoint} checkpoint')):
        if found is None:
            raise ReportError(f'{work_dir} has no {what} to predict with: give --images 0 to report without predictions'
                              + (', or --checkpoint last' if checkpoint == 'best' else ''))
    return read_config(parser, str(config), {}), weights


def main() -> None:
    """Reports."""
    parser = make_parser()
    args = parser.parse_args()
    if args.images < 0:
        parser.error(f'--images {args.images}: give 0 or more')
    register_all_modules()
    with one_line_errors('report'):
        for folder in filter(None, (args.work_dir, args.source_only, args.oracle)):
            read_record(folder)
        if args.images:
            config, checkpoint = trained(parser, args.work_dir, args.checkpoint)
            other = None if args.source_only is None else trained(parser, args.source_only, 'last')
            write_examples(args.work_dir, config, checkpoint, args.images, source_only=other, device=args.device)
        print(write_training_report(args.work_dir, source_only=args.source_only, oracle=args.oracle))


if __name__ == '__main__':
    main()
