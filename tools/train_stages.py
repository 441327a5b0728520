"""Trains several configs in sequence; each starts from the weights of the one before. Run it again to go on."""
import argparse
import os
from pathlib import Path

from mmengine.config import DictAction

from mmseg_cicld.command_line import one_line_errors, read_config
from mmseg_cicld.config_keys import check_training_keys
from mmseg_cicld.engine.stages import Stage, run_stages


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config files in the order of the stages; a stage '
                        'has the name of its file')
    parser.add_argument('--work-dir', required=True, help='folder of the sequence; each stage trains in a folder of '
                        'its name there, and what was stopped goes on')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE',
                        help='changes of all configs, such as randomness.seed=1; lists as KEY=a,b')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='how several processes were started (default: one process)')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def read_stage(parser: argparse.ArgumentParser, args: argparse.Namespace, path: str) -> Stage:
    """Reads the config of one stage; one that cannot be read ends the program with code 2 and a line that names it."""
    config = read_config(parser, path, args.cfg_options)
    check_training_keys(config)
    config.setdefault('runner_type', 'AdaptationRunner')
    return Stage(Path(path).stem, config)


def main() -> None:
    """Trains."""
    parser = make_parser()
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    with one_line_errors():
        stages = [read_stage(parser, args, path) for path in args.configs]
        last = run_stages(stages, args.work_dir, args.launcher)
    print(f'all stages are finished: {last}')


if __name__ == '__main__':
    main()
