"""Translates a labelled dataset to the look of the target domain. Run the same command again to go on.

The output has the layout of the source: the config of the source with data_root=OUTPUT trains on it.
"""
import argparse
import os
from dataclasses import fields

import torch

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.engine.distributed import init_cpu_process_group
from mmseg_cicld.translation import TranslationError, translate_dataset
from mmseg_cicld.translation.run_settings import RunSettings

TRANSLATION_KEYS = [field.name for field in fields(RunSettings)]


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_options(parser)
    parser.add_argument('--output', required=True, help='folder of the translated dataset')
    parser.add_argument('--launcher', choices=['none', 'pytorch'], default='none',
                        help='pytorch: started by torchrun, the processes share the work (default: one process)')
    return parser


def join_processes() -> None:
    """Joins the processes of torchrun, each with a GPU of its own if there are any."""
    # They only wait for each other, so they talk through the CPU even if they work on GPUs.
    try:
        init_cpu_process_group('pytorch')
    except ValueError as error:
        raise TranslationError(str(error)) from error
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count())


def main() -> None:
    """Translates."""
    parser = make_parser()
    args = parser.parse_args()
    with one_line_errors():
        cfg = load_config(parser, args, known=TRANSLATION_KEYS)
        if args.launcher == 'pytorch':
            join_processes()
        print(f'translated dataset: {translate_dataset(cfg, args.output)}', flush=True)


if __name__ == '__main__':
    main()
