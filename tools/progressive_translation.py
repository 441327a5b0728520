"""Translates a labelled dataset in rounds, each guided by the segmentor that was fine-tuned on the round before.

Run the same command again to go on where it was stopped.
"""
import argparse
from dataclasses import fields

import torch
from mmengine.dist import init_dist

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.config_keys import TRAINING_KEYS
from mmseg_cicld.engine.distributed import init_cpu_process_group
from mmseg_cicld.translation.progressive import translate_progressively
from mmseg_cicld.translation.run_settings import RunSettings

PROGRESSIVE_KEYS = [*TRAINING_KEYS, *(field.name for field in fields(RunSettings)), 'progressive']


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_options(parser)
    parser.add_argument('--work-dir', required=True, help='folder of all rounds')
    parser.add_argument('--launcher', choices=['none', 'pytorch'], default='none',
                        help='pytorch: started by torchrun (default: one process)')
    return parser


def main() -> None:
    """Translates and trains."""
    parser = make_parser()
    args = parser.parse_args()
    with one_line_errors():
        cfg = load_config(parser, args, known=PROGRESSIVE_KEYS)
        if args.launcher != 'none':
            (init_dist if torch.cuda.is_available() else init_cpu_process_group)(args.launcher)
        print(f'translated dataset: {translate_progressively(cfg, args.work_dir, args.launcher)}', flush=True)


if __name__ == '__main__':
    main()
