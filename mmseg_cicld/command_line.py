"""What the programs in ``tools/`` share: their common options, and errors that fit in one line."""
import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.hub import get_config

from .datasets.file_reading import DataFileError
from .engine import CheckpointError
from .engine.onnx_check import OnnxExportError
from .finite_losses import NonFiniteLossError
from .migration import OldConfigError
from .models.verified_pretrained import PretrainedWeightsError
from .translation import TranslationError

EXPECTED_ERRORS = (CheckpointError, DataFileError, NonFiniteLossError, OldConfigError, OnnxExportError,
                   PretrainedWeightsError, TranslationError)
"""Errors whose message says all that a user needs; the stack of calls would only hide it."""


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``CONFIG`` and ``--cfg-options``."""
    parser.add_argument('config', help="config file; 'mmseg_cicld::METHOD/NAME.py' is one of the installed package")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE',
                        help='changes of the config, such as optim_wrapper.optimizer.lr=1e-4; lists as KEY=a,b')


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds what training and testing have in common."""
    parser.add_argument('--work-dir', help='folder of logs and results (default: that of the config, or '
                        'work_dirs/NAME_OF_THE_CONFIG)')
    parser.add_argument('--allow-unsafe-checkpoint', action='store_true',
                        help='read checkpoints that hold objects, which can run any code; only for files you trust')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='how several processes were started (default: one process)')
    # torch.distributed.launch, which mim starts, passes this; torchrun sets LOCAL_RANK instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def load_config(parser: argparse.ArgumentParser, args: argparse.Namespace) -> Config:
    """Reads the config of :func:`add_config_options`.

    A file that is not there, or one of its bases, ends the program with code 2 and a line that names it.
    """
    try:
        cfg = get_config(args.config) if '::' in args.config else Config.fromfile(args.config)
    except FileNotFoundError as error:
        parser.error(f'cannot read the config: {error}')
    cfg.merge_from_dict(args.cfg_options)
    return cfg


def apply_run_options(cfg: Config, args: argparse.Namespace) -> None:
    """Writes the options of :func:`add_run_options` into a config."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg.launcher = args.launcher
    if args.work_dir is not None or cfg.get('work_dir') is None:
        cfg.work_dir = args.work_dir or f'./work_dirs/{Path(args.config).stem}'
    if args.allow_unsafe_checkpoint:
        cfg.allow_unsafe_checkpoints = True


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the program with code 1 and one line on stderr for the errors that explain themselves."""
    try:
        yield
    except EXPECTED_ERRORS as error:
        sys.exit(f'error: {error}')
