"""Tells how many small changes of the code its tests notice: runs the tests of a module on each change of a sample.

The changes are made in a copy of the project. A test file belongs to a module if it has its name (test_NAME.py), imports it
or one of its names, or builds one of its classes by type; of these the ones that name it most often are run. A module
that no test names is tested by the tests of those that import it, or else by all of its room. ``TESTED_BY`` lists modules
whose tests name nothing of them.

Results are written after each change; the same command goes on where it was stopped. A change that changes nothing gets the
outcome ``equivalent`` in the file of results by hand, which is kept.
"""
import argparse
import ast
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from pathlib import Path
from queue import Queue

from mutants import Mutant, find_mutants

ROOT = Path(__file__).resolve().parents[2]
COPIED = ('mmseg_cicld', 'tests', 'configs', 'tools', 'docs', 'requirements', 'docker')
# Modules whose tests run them in a whole training or tool, and name nothing of them.
TESTED_BY = {'mmseg_cicld/engine/graceful_stop.py': 'tests/test_engine/test_stopping.py',
             'mmseg_cicld/translation/measurement.py': 'tests/test_translation/test_translation_report.py'}
MOST_TESTS = 6
LONGEST = 1800  # seconds of a test file
OUTCOMES = ('killed', 'timeout', 'survived', 'equivalent', 'untested')


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('parts', nargs='+', help='files or folders of mmseg_cicld, such as mmseg_cicld/models/losses')
    parser.add_argument('--count', type=int, default=100, help='changes in the sample (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='what the sample is drawn with (default: %(default)s)')
    parser.add_argument('--timeout', type=float, default=60, help='seconds for the tests of a change, beyond twice what '
                        'they take without it, after which it counts as noticed (default: %(default)s)')
    parser.add_argument('--processes', type=int, default=1, help='changes at the same time (default: %(default)s)')
    parser.add_argument('--tests', nargs='+', help='test files instead of those that belong to the module')
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
    found = [mutant for file in files
             for mutant in find_mutants(file.relative_to(ROOT).as_posix(), file.read_text(encoding='utf-8'))]
    return random.Random(seed).sample(found, min(count, len(found)))


def tests_of(file: str) -> list[str]:
    """Lists the test files of a module, or else of the modules that import it, or else of its room."""
    found = _tests_through_imports(file, frozenset())
    room = Path(file).relative_to('mmseg_cicld').parts[0]
    return found[:MOST_TESTS] or sorted(path.relative_to(ROOT).as_posix()
                                        for path in (ROOT / 'tests' / f'test_{room}').glob('test_*.py'))


def _tests_through_imports(file: str, passed: frozenset[str]) -> list[str]:
    found, passed = _naming_tests(file), passed | {file}
    if found:
        return found
    pattern = re.compile(rf'^\s*from \.[\w.]*\b{Path(file).stem} import ', re.MULTILINE)
    importers = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / 'mmseg_cicld').rglob('*.py'))
                 if path.name != '__init__.py' and pattern.search(path.read_text(encoding='utf-8'))]
    return list(dict.fromkeys(test for importer in importers if importer not in passed
                              for test in _tests_through_imports(importer, passed)))


def _naming_tests(file: str) -> list[str]:
    module = file.removesuffix('.py').removesuffix('/__init__').replace('/', '.')
    body = ast.parse((ROOT / file).read_text(encoding='utf-8')).body
    classes = [part.name for part in body if isinstance(part, ast.ClassDef)]
    functions = [part.name for part in body if isinstance(part, ast.FunctionDef)]
    names = re.compile('|'.join(rf'\b{name}\b' for name in (*classes, *functions, re.escape(module))))
    mentions = {}
    for path, text, imports in _test_files():
        own = path.name == f'test_{Path(file).stem}.py'
        if own or _imports(imports, module, {*classes, *functions}) or any(f"type='{name}'" in text for name in classes):
            mentions[path.relative_to(ROOT).as_posix()] = (not own, -len(names.findall(text)))
    first = [TESTED_BY[file]] if file in TESTED_BY else []
    return list(dict.fromkeys([*first, *sorted(mentions, key=mentions.get)]))


@cache
def _test_files() -> list[tuple[Path, str, list[ast.ImportFrom]]]:
    texts = {path: path.read_text(encoding='utf-8') for path in sorted((ROOT / 'tests').rglob('test_*.py'))}
    return [(path, text, [part for part in ast.walk(ast.parse(text)) if isinstance(part, ast.ImportFrom)])
            for path, text in texts.items()]


def _imports(imports: list[ast.ImportFrom], module: str, names: set[str]) -> bool:
    for part in imports:
        if f'{module}.'.startswith(f'{part.module}.'):
            taken = {alias.name for alias in part.names}
            if part.module == module or taken & {*names, module.rpartition('.')[2]}:
                return True
    return False


def copy_project(folder: Path) -> Path:
    """Copies what tests need to a folder; only there the code is changed."""
    for part in COPIED:
        shutil.copytree(ROOT / part, folder / part, symlinks=True, ignore=shutil.ignore_patterns('__pycache__'))
    for part in ROOT.iterdir():
        if part.is_file() and not part.is_symlink():
            shutil.copy(part, folder)
    return folder


def run_tests(folder: Path, tests: Sequence[str], marker: str | None, timeout: float) -> str:
    """Runs test files in a copy of the project until the first failure; returns the outcome."""
    command = [sys.executable, '-B', '-m', 'pytest', '-x', '-q', '-p', 'no:cacheprovider', *tests]
    env = dict(os.environ, PYTHONPATH=str(folder), OMP_NUM_THREADS='1')
    with subprocess.Popen(command + (['-m', marker] if marker else []), cwd=folder, env=env, start_new_session=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            getattr(os, 'killpg', os.kill)(process.pid, 9)  # with the programs that the tests have started
            return 'timeout'
    return {0: 'survived', 5: 'untested'}.get(code, 'killed')


def judge(mutant: Mutant, folder: Path, tests: Sequence[str], marker: str | None, timeout: float) -> dict:
    """Makes a change, runs tests and takes the change back."""
    file, begin = folder / mutant.file, time.monotonic()
    source = file.read_text(encoding='utf-8')
    file.write_text(mutant.applied(source), encoding='utf-8')
    try:
        outcome = run_tests(folder, tests, marker, timeout) if tests else 'untested'
    finally:
        file.write_text(source, encoding='utf-8')
    return dict(asdict(mutant), outcome=outcome, tests=tests, seconds=round(time.monotonic() - begin, 1))


def judge_all(mutants: Sequence[Mutant], args: argparse.Namespace) -> Iterator[tuple[Mutant, dict]]:
    """Judges changes in as many copies of the project as there are processes; gives them as they come."""
    with tempfile.TemporaryDirectory() as root, ThreadPoolExecutor(args.processes) as pool:
        copies: Queue[Path] = Queue()
        for index in range(args.processes):
            copies.put(copy_project(Path(root, str(index))))

        tests = {mutant.file: args.tests or tests_of(mutant.file) for mutant in mutants}
        seconds = seconds_unchanged({test for found in tests.values() for test in found}, copies.queue[0], args.marker)

        def one(mutant: Mutant) -> tuple[Mutant, dict]:
            folder, own = copies.get(), tests[mutant.file]
            try:
                limit = args.timeout + 2 * sum(seconds[test] for test in own)
                return mutant, judge(mutant, folder, own, args.marker, limit)
            finally:
                copies.put(folder)

        yield from pool.map(one, mutants)


def seconds_unchanged(tests: set[str], folder: Path, marker: str | None) -> dict[str, float]:
    """Runs test files on the unchanged code; if one fails there, it says nothing about a change."""
    seconds = {}
    for test in sorted(tests):
        begin = time.monotonic()
        if run_tests(folder, [test], marker, LONGEST) in ('killed', 'timeout'):
            raise SystemExit(f'error: {test} does not pass on the unchanged code: run it, or name others with --tests')
        seconds[test] = time.monotonic() - begin
    return seconds


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
              for entry in results if entry['outcome'] in ('survived', 'untested')]
    return '\n'.join([*lines, '', *missed])


def main() -> None:
    """Judges the sample and writes the results."""
    args = parse_args()
    results = json.loads(args.out.read_text()) if args.out.is_file() else {}
    mutants = sample(args.parts, args.count, args.seed)
    waiting = [mutant for mutant in mutants if mutant.key not in results]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for mutant, result in judge_all(waiting, args) if waiting else ():
        results[mutant.key] = result
        args.out.write_text(json.dumps(results, indent=1))
        print(f'{len(results)}: {result["outcome"]} {mutant.file}:{mutant.line} {mutant.operator}', flush=True)
    report = table([results[mutant.key] for mutant in mutants])
    args.out.with_name('table.md').write_text(report + '\n')
    print(report)


if __name__ == '__main__':
    main()
