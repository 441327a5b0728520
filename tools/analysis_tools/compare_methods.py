"""Trains all rows of a comparison with all its seeds and prints the table; run it again to go on where it stopped."""
import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import mmseg_cicld  # noqa: F401  isort: skip (repairs must come before mmseg is imported)

from mmseg_cicld.command_line import one_line_errors
from mmseg_cicld.engine import CheckpointError
from mmseg_cicld.engine.comparison import Comparison, Row, table, training_config
from mmseg_cicld.engine.comparison_folder import (ComparisonError, check_settings, evaluated_metric, final_metric,
                                                  folder_of, held, is_begun, read_result, write_result, write_settings)

TOOLS = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('comparison', help='file with rows, seeds and options, such as those of '
                        'configs/street/comparisons')
    parser.add_argument('--work-dir', type=Path, help='folder of the trainings and of table.md (default: '
                        'work_dirs/comparisons/NAME_OF_THE_FILE)')
    parser.add_argument('--workers', type=int, default=1, help='trainings at the same time (default: %(default)s)')
    parser.add_argument('--rows', nargs='+', metavar='NAME', help='only these rows, and those that they begin with or '
                        'evaluate')
    parser.add_argument('--seeds', nargs='+', type=int, help="only these seeds (default: the file's)")
    parser.add_argument('--table', action='store_true', help='print what is finished, train nothing')
    return parser.parse_args()


def finish(comparison: Comparison, row: Row, seed: int, work_dir: Path, before: Future | None) -> None:
    """Runs one training or evaluation to its end, and writes its result."""
    if before is not None:
        before.result()
    folder = folder_of(work_dir, row.name, seed)
    started_from = None if row.after is None else folder_of(work_dir, row.after, seed)
    with held(folder):
        check_settings(folder, comparison.settings[row.name])
        if read_result(folder) is not None:
            return
        write_settings(folder, comparison.settings[row.name])
        config, begin, resumed = training_config(row, seed, folder, started_from), time.monotonic(), is_begun(folder)
        config.dump(folder / 'training.py')
        if row.evaluates is not None:
            value = evaluate(folder, Path(config.load_from), comparison.metric)
        else:
            value = train(folder, resumed, comparison.metric, config.train_cfg.max_iters)
        write_result(folder, value, None if resumed else time.monotonic() - begin)
    print(f'{row.name}, seed {seed}: {comparison.metric} {value:.2f}', flush=True)


def train(folder: Path, resumed: bool, metric: str, iterations: int) -> float:
    """Trains ``training.py`` of a folder in a process of its own and returns the metric after its last iteration."""
    code = run_tool('train.py', folder, '--resume' if resumed else None)
    value = final_metric(folder, metric, iterations)
    if code or value is None:
        raise ComparisonError(_failure(folder, code, metric))
    return value


def evaluate(folder: Path, checkpoint: Path, metric: str) -> float:
    """Evaluates a checkpoint by ``training.py`` of a folder in a process of its own and returns the metric."""
    code = run_tool('test.py', folder, str(checkpoint))
    value = evaluated_metric(folder, metric)
    if code or value is None:
        why = f'ended with code {code}' if code else f'has no {metric}, correct `metric`'
        raise ComparisonError(f'{folder}: the evaluation {why}, see {folder / "console.log"}')
    return value


def run_tool(tool: str, folder: Path, argument: str | None) -> int:
    """Runs a tool on ``training.py`` of a folder, with one more argument or none, and returns its exit code."""
    command = [sys.executable, TOOLS / tool, folder / 'training.py', *([] if argument is None else [argument])]
    with (folder / 'console.log').open('a') as log:
        return subprocess.call(command, stdout=log, stderr=subprocess.STDOUT,
                               env={'OMP_NUM_THREADS': '1', **os.environ})


def _failure(folder: Path, code: int, metric: str) -> str:
    if code:
        return f'{folder}: the training ended with code {code}, see {folder / "console.log"}'
    return (f'{folder}: the training ended without {metric} of its last iteration. Either the evaluation has no such '
            'metric (correct `metric`), or it was stopped in its evaluation: remove this folder to train it anew')


def run(comparison: Comparison, work_dir: Path, workers: int, wanted: set[str]) -> list[str]:
    """Trains what is not finished; returns what went wrong."""
    jobs: dict[tuple[str, int], Future] = {}
    pool = ThreadPoolExecutor(workers)
    try:
        for row in comparison.rows:
            if row.name in wanted:
                for seed in comparison.seeds:
                    before = jobs.get((row.after, seed))
                    jobs[row.name, seed] = pool.submit(finish, comparison, row, seed, work_dir, before)
        wait(jobs.values())
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C begins no further training
    errors = [job.exception() for job in jobs.values() if job.exception() is not None]
    for error in errors:
        if not isinstance(error, (ComparisonError, CheckpointError)):
            raise error
    # A row that could not begin fails with the error of the one before.
    return list(dict.fromkeys(map(str, errors)))


def of_other_settings(comparison: Comparison, work_dir: Path, wanted: set[str]) -> list[str]:
    """Returns the first folder that was trained with other settings, with what is wrong, and how many more there are."""
    found = []
    for name in (row.name for row in comparison.rows if row.name in wanted):
        for seed in comparison.seeds:
            try:
                check_settings(folder_of(work_dir, name, seed), comparison.settings[name])
            except ComparisonError as error:
                found.append(str(error))
    return found[:1] if len(found) < 2 else [f'{found[0]}; {len(found) - 1} more of {work_dir} likewise']


def with_those_before(comparison: Comparison, names: list[str] | None) -> set[str]:
    """Returns the names of the rows that were asked for and of all that have to be finished before."""
    rows = {row.name: row for row in comparison.rows}
    wanted, queue = set(), list(rows if names is None else names)
    while queue:
        name = queue.pop()
        if name not in rows:
            raise ComparisonError(f'--rows has {name!r}, the file has {list(rows)}')
        wanted.add(name)
        queue += [rows[name].after] if rows[name].after else []
    return wanted


def main() -> None:
    """Trains and prints."""
    args = parse_args()
    work_dir = args.work_dir or Path('work_dirs/comparisons') / Path(args.comparison).stem
    with one_line_errors():
        try:
            comparison = Comparison.from_file(args.comparison, args.seeds)
            wanted = with_those_before(comparison, args.rows)
            errors = of_other_settings(comparison, work_dir, wanted)
        except ComparisonError as error:
            sys.exit(f'error: {error}')
        if not args.table and not errors:
            errors = run(comparison, work_dir, args.workers, wanted)
    text = table(comparison, work_dir)
    print(text)
    if not args.table and work_dir.is_dir():
        (work_dir / 'table.md').write_text(text + '\n')
    if errors:
        sys.exit('error: ' + '\nerror: '.join(errors))


if __name__ == '__main__':
    main()
