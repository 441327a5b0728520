"""Tells how many small changes of the code its tests notice: runs, on each change of a sample, the tests that run its line.

The changes are made in a copy of the project. Each test file that belongs to a changed module (module_tests.py) runs once on
the unchanged code, which shows what lines its tests run (tests_by_line.py). Tests of a change run in a fork of a process that
has imported the large libraries (forked_tests.py), so this runs where Python can fork: on Linux and macOS.

Results are written after each change; the same command goes on where it was stopped. A change that changes nothing gets the
outcome ``equivalent`` in the file of results by hand, which is kept.
"""
import argparse
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import accumulate, islice
from pathlib import Path

if not hasattr(os, 'fork'):
    raise SystemExit('error: mutation_test.py runs tests in forks of itself: run it on Linux or macOS')

from forked_tests import TestRun, import_libraries, run_tests
from module_tests import ROOT, tests_of
from mutants import Mutant, compiles, find_mutants, statement_lines
from tests_by_line import TestsByLine

COPIED = ('mmseg_cicld', 'tests', 'configs', 'tools', 'docs', 'requirements', 'docker')
OUTCOMES = ('killed', 'timeout', 'survived', 'equivalent', 'untested', 'twin')
EVERY = 'float64 or not float64'  # pytest's -m for all tests, over that of pyproject.toml


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('parts', nargs='+', help='files or folders of mmseg_cicld, such as mmseg_cicld/models/losses')
    parser.add_argument('--count', type=int, default=100, help='changes in the sample (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='what the sample is drawn with (default: %(default)s)')
    parser.add_argument('--timeout', type=float, default=60, help='seconds of processor time for tests of a change, beyond '
                        'three times what they take without it, after which it counts as noticed (default: %(default)s)')
    parser.add_argument('--budget', type=float, default=60, help='seconds of processor time of a test file: its tests as '
                        'far as that, and on a change those that run the line, the quickest first (default: %(default)s)')
    parser.add_argument('--tests', nargs='+', help='test files instead of those that belong to the module')
    parser.add_argument('--twins', nargs=2, metavar=('PART', 'OTHER'), help='on a change that survives, tests run whose names '
                        'have OTHER in place of PART, such as f32 f64; if they notice, the outcome is "twin"')
    parser.add_argument('--marker', help="pytest's -m, such as float64 or 'float64 or not float64'")
    parser.add_argument('--out', type=Path, default=Path('work_dirs/mutation/results.json'),
                        help='results (default: %(default)s), with table.md beside it')
    return parser.parse_args()


def sample(parts: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """Draws changes of the given files and folders, without order of preference."""
    files = sorted({file for part in parts for file in ([ROOT / part] if part.endswith('.py')
                                                        else (ROOT / part).rglob('*.py'))})
    if not files:
        raise SystemExit(f'error: there is no Python file in {", ".join(parts)}: give files or folders of mmseg_cicld')
    sources = {file.relative_to(ROOT).as_posix(): file.read_text(encoding='utf-8') for file in files}
    found = [mutant for file, source in sources.items() for mutant in find_mutants(file, source)]
    random.Random(seed).shuffle(found)
    return [*islice((mutant for mutant in found if compiles(mutant.applied(sources[mutant.file]))), count)]


def copy_project(folder: Path) -> Path:
    """Copies what tests need to a folder; only there the code is changed."""
    for part in COPIED:
        shutil.copytree(ROOT / part, folder / part, symlinks=True, ignore=shutil.ignore_patterns('__pycache__'))
    for part in ROOT.iterdir():
        if part.is_file() and not part.is_symlink():
            shutil.copy(part, folder)
    return folder


class Judge:
    """Makes changes in a copy of the project, one at a time, and runs the tests that run the changed lines.

    Args:
        folder: The copy.
        tests: What lines its tests run.
        timeout: Seconds of processor time beyond three times those of the tests without the change.
        budget: Seconds of processor time of a test file on a change.
        twins: See the command line.
    """

    def __init__(self, folder: Path, tests: TestsByLine, timeout: float, budget: float,
                 twins: Sequence[str] | None = None) -> None:
        self._folder, self._tests, self._timeout, self._budget, self._twins = folder, tests, timeout, budget, twins

    def __call__(self, mutant: Mutant, files: Sequence[str]) -> dict:
        """Runs test files one after the other until one notices; whole ones if no test is seen to run the line.

        Returns:
            The change, its outcome, and the test that has failed.
        """
        begin, run, passed = time.monotonic(), TestRun('untested'), {}
        lines = statement_lines((self._folder / mutant.file).read_text(encoding='utf-8'), mutant.line)
        for select in (lambda file: self._tests.running(file, mutant.file, lines), self._tests.seconds):
            for file in files:
                tests = passed[file] = self._affordable(select(file))
                run = self._with_change(mutant, file, tests, self._tests.marker) if tests else run
                if run.outcome in ('killed', 'timeout'):
                    break
            if run.outcome != 'untested':
                break
        if run.outcome == 'survived' and self._twins:
            run = self._twins_with_change(mutant, passed)
        return dict(asdict(mutant), outcome=run.outcome, failed=run.failed, seconds=round(time.monotonic() - begin, 1))

    def _twins_with_change(self, mutant: Mutant, passed: dict[str, dict[str, float]]) -> TestRun:
        for file, tests in passed.items():
            names = {name.replace(*self._twins): 10 * seconds for name, seconds in tests.items() if self._twins[0] in name}
            run = self._with_change(mutant, file, names, EVERY) if names else TestRun('survived')
            if run.outcome in ('killed', 'timeout'):
                return TestRun('twin', run.failed)
        return TestRun('survived')

    def _affordable(self, seconds: dict[str, float]) -> dict[str, float]:
        sums = accumulate(seconds.values())
        return {name: seconds[name] for index, (name, total) in enumerate(zip(seconds, sums))
                if not index or total <= self._budget}

    def _with_change(self, mutant: Mutant, file: str, tests: dict[str, float], marker: str | None) -> TestRun:
        changed = self._folder / mutant.file
        source, times = changed.read_text(encoding='utf-8'), changed.stat()
        changed.write_text(mutant.applied(source), encoding='utf-8')
        try:
            return run_tests(self._folder, file, [*tests], self._timeout + 3 * sum(tests.values()), marker)
        finally:
            changed.write_text(source, encoding='utf-8')
            os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))  # its bytecode is valid again


def table(results: Sequence[dict]) -> str:
    """Returns counts by file, and every change that nobody has noticed, as Markdown."""
    lines = ['| file | ' + ' | '.join(OUTCOMES) + ' | noticed |', '|---' * (len(OUTCOMES) + 2) + '|']
    files = sorted({entry['file'] for entry in results})
    for name, rows in [(file, [entry for entry in results if entry['file'] == file]) for file in files] + [('all', results)]:
        counts = [sum(entry['outcome'] == outcome for entry in rows) for outcome in OUTCOMES]
        changing = sum(counts) - counts[OUTCOMES.index('equivalent')]
        share = f'{100 * (counts[0] + counts[1]) / changing:.0f} %' if changing else '-'
        lines.append(f'| {name} | ' + ' | '.join(map(str, counts)) + f' | {share} |')
    missed = [f'- {entry["file"]}:{entry["line"]} ({entry["outcome"]}): `{entry["before"]}` -> `{entry["after"]}`'
              for entry in results if entry['outcome'] in ('survived', 'untested', 'twin')]
    return '\n'.join([*lines, '', *missed])


def main() -> None:
    """Judges the sample and writes the results."""
    args = parse_args()
    results = json.loads(args.out.read_text()) if args.out.is_file() else {}
    mutants = sample(args.parts, args.count, args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    import_libraries(ROOT)
    with tempfile.TemporaryDirectory() as temporary:
        folder = copy_project(Path(temporary).resolve())
        judge = Judge(folder, TestsByLine(folder, args.out.parent / 'lines', args.budget, args.marker), args.timeout, args.budget,
                      args.twins)
        for mutant in mutants:
            if mutant.key not in results:
                result = results[mutant.key] = judge(mutant, args.tests or tests_of(mutant.file))
                args.out.write_text(json.dumps(results, indent=1))
                print(f'{result["outcome"]} {mutant.file}:{mutant.line} {mutant.operator} {result["seconds"]} s '
                      f'{" ".join(result["failed"])}', flush=True)
    report = table([results[mutant.key] for mutant in mutants])
    args.out.with_name('table.md').write_text(report + '\n')
    print(report)


if __name__ == '__main__':
    main()
