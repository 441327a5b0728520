"""What the programs in ``tools/`` share: their common options, and errors that fit in one line."""
import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from mmengine.config import Config, DictAction
from mmengine.hub import get_config

from .build_errors import building, shortened, stack
from .config_keys import TRAINING_KEYS, check_options, check_training_keys
from .user_errors import one_line


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``CONFIG`` and ``--cfg-options``."""
    parser.add_argument('config', help='config file, which is a program: run none that you do not trust; '
                        "'mmseg_cicld::METHOD/NAME.py' is one of the installed package")
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


def load_config(parser: argparse.ArgumentParser, args: argparse.Namespace,
                known: Iterable[str] = TRAINING_KEYS) -> Config:
    """Reads the config of :func:`add_config_options`, see :func:`read_config`."""
    return read_config(parser, args.config, args.cfg_options, known)


def read_config(parser: argparse.ArgumentParser, path: str, options: dict,
                known: Iterable[str] = TRAINING_KEYS) -> Config:
    """Reads a config and changes it.

    A file that is not there or that cannot be read, one of its bases likewise, and options that do not fit end the
    program with code 2 and a line that names them.

    Args:
        parser: The command line, whose usage is printed before such a line.
        path: The file, or the name of one in an installed package.
        options: Changes by dotted key.
        known: Top-level keys that the options may set although the config does not have them.
    """
    try:
        cfg = get_config(path) if '::' in path else Config.fromfile(path)
    except Exception as error:  # a config is a program, in which anything can go wrong
        problem = _problem_of_config(error)
        if problem is None:
            raise
        parser.error(f'cannot read the config: {problem}')
    try:
        check_options(options, cfg, known)
        cfg.merge_from_dict(options)
    except (KeyError, TypeError, ValueError) as error:
        parser.error(shortened(str(error.args[0]) if error.args else str(error)))
    return cfg


def _problem_of_config(error: Exception) -> str | None:
    """Says what is wrong with the file; None for an error inside a module that it imports."""
    if isinstance(error, FileNotFoundError):
        return str(error)
    frames = stack(error)
    if isinstance(error, SyntaxError):
        # mmengine reads a copy of the file, and parses it without a name.
        files = [frame.tb_frame.f_locals['filename'] for frame in frames
                 if frame.tb_frame.f_code.co_name in ('_is_lazy_import', '_file2dict', '_parse_lazy_import')]
        return f'{(files or [error.filename])[-1]}, line {error.lineno}: {error.msg}'
    if isinstance(error, ImportError):
        missing = error.__context__ if error.__cause__ is None else error.__cause__
        return None if missing is None else shortened(
            f'{str(error).splitlines()[0]} ({missing.__context__ or missing}): correct custom_imports or PYTHONPATH')
    own = [frame for frame in frames if frame.tb_frame.f_code.co_name == '<module>'
           and '__name__' not in frame.tb_frame.f_globals]
    if own and not building(frames):
        return (f'{own[-1].tb_frame.f_code.co_filename}, line {own[-1].tb_lineno}: '
                f'{type(error).__name__}: {shortened(str(error))}')
    return shortened(f'{type(error).__name__}: {error}') if _is_of_config_module(frames[-1]) else None


def _is_of_config_module(frame: TracebackType) -> bool:
    return frame.tb_frame.f_globals.get('__name__', '').startswith('mmengine.config')


def apply_run_options(cfg: Config, args: argparse.Namespace) -> None:
    """Writes the options of :func:`add_run_options` into a config."""
    check_training_keys(cfg)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg.launcher = args.launcher
    if args.work_dir is not None or cfg.get('work_dir') is None:
        cfg.work_dir = args.work_dir or f'./work_dirs/{Path(args.config).stem}'
    if args.allow_unsafe_checkpoint:
        cfg.allow_unsafe_checkpoints = True


@contextmanager
def one_line_errors(name: str = 'error') -> Iterator[None]:
    """Ends the program with code 1 and one line on stderr for the mistakes of users, see :mod:`.user_errors`.

    Args:
        name: What the line begins with.
    """
    try:
        yield
    except Exception as error:
        text = one_line(error)
        if text is None:
            raise
        sys.exit(f'{name}: {text}')
