"""Trains a segmentor: source-only, or adapted to a target domain, as the config says."""
import argparse

import torch
from mmengine.config import Config
from mmseg.registry import RUNNERS

from mmseg_cicld.command_line import (add_config_options, add_run_options, apply_run_options, load_config,
                                      one_line_errors)


def checkpoint_name(text: str) -> str:
    """Accepts the FILE of ``--resume``, unless it is the config that stands behind a bare ``--resume``."""
    if text.endswith('.py'):
        raise argparse.ArgumentTypeError(f"'{text}' is not a checkpoint; write CONFIG before --resume")
    return text


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_options(parser)
    add_run_options(parser)
    parser.add_argument('--resume', nargs='?', const=True, default=False, type=checkpoint_name, metavar='FILE',
                        help='continue from the newest undamaged checkpoint in the work dir (none there: start as '
                        'without --resume), or from FILE')
    parser.add_argument('--allow-changed-resume', action='store_true',
                        help='resume with another data set, learning rate, threshold and the like than the checkpoint')
    parser.add_argument('--amp', nargs='?', const='bfloat16', choices=['bfloat16', 'float16'],
                        help='mixed precision: bfloat16 (default; GPU and CPU) or float16 with loss scaling (GPU)')
    return parser


def apply_amp(parser: argparse.ArgumentParser, cfg: Config, dtype: str) -> None:
    """Puts a mixed precision wrapper in place of the plain ``OptimWrapper``."""
    wrapper = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if wrapper != 'OptimWrapper':
        parser.error(f"--amp replaces optim_wrapper.type='OptimWrapper', but the config has '{wrapper}': drop --amp, or "
                     'change the config')
    if dtype == 'bfloat16':
        cfg.optim_wrapper.update(type='AutocastOptimWrapper', dtype='bfloat16')
    elif torch.cuda.is_available():
        cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic')
    else:
        parser.error('--amp float16 needs a GPU and there is none: use --amp bfloat16')


def main() -> None:
    """Trains."""
    parser = make_parser()
    args = parser.parse_args()
    with one_line_errors():
        cfg = load_config(parser, args)
        apply_run_options(cfg, args)
        if args.amp is not None:
            apply_amp(parser, cfg, args.amp)
        if args.resume:
            cfg.resume = 'auto' if args.resume is True else True
            cfg.load_from = cfg.get('load_from') if args.resume is True else args.resume
        if args.allow_changed_resume:
            cfg.allow_changed_resume = True
        cfg.setdefault('runner_type', 'AdaptationRunner')
        RUNNERS.build(cfg).train()


if __name__ == '__main__':
    main()
