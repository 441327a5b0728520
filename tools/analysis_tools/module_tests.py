"""Which test files belong to a module of the package.

A test file belongs to a module if it has its name (test_NAME.py), imports it or one of its names, or builds one of its
classes by type; those that name it most often come first. Then come the tests of modules that import it; of a module that
none of these name, all tests of its room. ``TESTED_BY`` lists modules whose tests name nothing of them.
"""
import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Modules whose tests run them in a whole training or tool, and name nothing of them.
TESTED_BY = {'mmseg_cicld/engine/graceful_stop.py': 'tests/test_engine/test_stopping.py',
             'mmseg_cicld/translation/measurement.py': 'tests/test_translation/test_translation_report.py'}
MOST_TESTS = 6


def tests_of(file: str) -> list[str]:
    """Lists the test files of a module, then those of the modules that import it, or else of its room."""
    found = _tests_through_imports(file, frozenset())
    if len(found) < MOST_TESTS:
        found = list(dict.fromkeys([*found, *(test for importer in _importers(file) for test in _naming_tests(importer))]))
    room = Path(file).relative_to('mmseg_cicld').parts[0]
    return found[:MOST_TESTS] or sorted(path.relative_to(ROOT).as_posix()
                                        for path in (ROOT / 'tests' / f'test_{room}').glob('test_*.py'))


def _tests_through_imports(file: str, passed: frozenset[str]) -> list[str]:
    found, passed = _naming_tests(file), passed | {file}
    return found or list(dict.fromkeys(test for importer in _importers(file) if importer not in passed
                                       for test in _tests_through_imports(importer, passed)))


def _importers(file: str) -> list[str]:
    pattern = re.compile(rf'^\s*from \.[\w.]*\b{Path(file).stem} import ', re.MULTILINE)
    return [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / 'mmseg_cicld').rglob('*.py'))
            if path.name != '__init__.py' and pattern.search(path.read_text(encoding='utf-8'))]


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
