"""Trains all rows of a comparison with all its seeds and prints the table; run it again to go on where it stopped."""
import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import mmseg_cicld  # noqa: F401  isort: skip (repairs must come before mmseg is imported)

from mmseg_cicld.command_line import one_line_errors
from mmseg_cicld.engine.comparison import (Comparison, ComparisonError, Row, folder_of, last_metric, read_result, table,
                                           training_config, write_result)

TRAIN = Path(__file__).resolve().parents[1] / 'train.py'


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('comparison', help='file with rows, seeds and options, such as those of '
                        'configs/street/comparisons')
    parser.add_argument('--work-dir', type=Path, help='folder of the trainings and of table.md (default: '
                        'work_dirs/comparisons/NAME_OF_THE_FILE)')
    parser.add_argument('--workers', type=int, default=1, help='trainings at the same time (default: %(default)s)')
    parser.add_argument('--rows', nargs='+', metavar='NAME', help='only these rows, and those that they begin with')
    parser.add_argument('--seeds', nargs='+', type=int, help="only these seeds (default: the file's)")
    parser.add_argument('--table', action='store_true', help='print what is finished, train nothing')
    return parser.parse_args()


def train(row: Row, seed: int, metric: str, work_dir: Path, before: Future | None) -> None:
    """Runs one training to its end in a process of its own, and writes its result."""
    folder = folder_of(work_dir, row.name, seed)
    if read_result(folder) is not None:
        return
    started_from = None
    if row.begin_with is not None:
        before.result()
        started_from = folder_of(work_dir, row.begin_with, seed)
    folder.mkdir(parents=True, exist_ok=True)
    training_config(row, seed, folder, started_from).dump(folder / 'training.py')
    begin = time.monotonic()
    resume = ['--resume'] if any(folder.glob('iter_*.pth')) else []
    with (folder / 'console.log').open('a') as log:
        code = subprocess.call([sys.executable, TRAIN, folder / 'training.py', *resume], stdout=log,
                               stderr=subprocess.STDOUT, env={'OMP_NUM_THREADS': '1', **os.environ})
    value = last_metric(folder, metric)
    if code or value is None:
        raise ComparisonError(f'{row.name}, seed {seed}: the training ended with code {code} and {metric}={value}, see '
                              f'{folder / "console.log"}')
    write_result(folder, value, time.monotonic() - begin)
    print(f'{row.name}, seed {seed}: {metric} {value:.2f}', flush=True)


def run(comparison: Comparison, work_dir: Path, workers: int, wanted: set[str]) -> list[str]:
    """Trains what is not finished; returns what went wrong."""
    jobs: dict[tuple[str, int], Future] = {}
    with ThreadPoolExecutor(workers) as pool:
        for row in comparison.rows:
            if row.name in wanted:
                for seed in comparison.seeds:
                    before = jobs.get((row.begin_with, seed))
                    jobs[row.name, seed] = pool.submit(train, row, seed, comparison.metric, work_dir, before)
    # A row that could not begin fails with the error of the one before.
    return list(dict.fromkeys(str(job.exception()) for job in jobs.values() if job.exception()))


def with_beginnings(comparison: Comparison, names: list[str] | None) -> set[str]:
    """Returns the names of the rows that were asked for and of all that they begin with."""
    rows = {row.name: row for row in comparison.rows}
    wanted, queue = set(), list(rows if names is None else names)
    while queue:
        name = queue.pop()
        if name not in rows:
            raise ComparisonError(f'--rows has {name!r}, the file has {list(rows)}')
        wanted.add(name)
        queue += [rows[name].begin_with] if rows[name].begin_with else []
    return wanted


def main() -> None:
    """Trains and prints."""
    args = parse_args()
    work_dir = args.work_dir or Path('work_dirs/comparisons') / Path(args.comparison).stem
    with one_line_errors():
        try:
            comparison = Comparison.from_file(args.comparison, args.seeds)
            errors = [] if args.table else run(comparison, work_dir, args.workers,
                                               with_beginnings(comparison, args.rows))
        except ComparisonError as error:
            sys.exit(f'error: {error}')
    text = table(comparison, work_dir)
    print(text)
    if not args.table:
        (work_dir / 'table.md').write_text(text + '\n')
    if errors:
        sys.exit('error: ' + '\nerror: '.join(errors))


if __name__ == '__main__':
    main()
