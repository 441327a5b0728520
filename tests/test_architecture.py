"""docs/architecture.md says what is so: its files and names exist, and rooms import what its arrows allow.

Files that CONTRIBUTING.md and CHANGELOG.md name exist too.
"""
import ast
import importlib
import re
from pathlib import Path

import pytest
from shell_commands import ROOT

PACKAGE = ROOT / 'mmseg_cicld'
PAGE = (ROOT / 'docs' / 'architecture.md').read_text(encoding='utf-8')
OTHERS = ''.join((ROOT / name).read_text(encoding='utf-8') for name in ('CONTRIBUTING.md', 'CHANGELOG.md'))
QUOTED = sorted(set(re.findall(r'`([^`\n]+)`', re.sub(r'```.*?```', '', PAGE + OTHERS, flags=re.DOTALL))))
PATHS = [text for text in QUOTED if re.fullmatch(r'[\w./-]+/|[\w./-]+\.(py|md|sh|toml|txt)', text) and 'METHOD' not in text]
NAMES = [text for text in QUOTED if re.fullmatch(r'mmseg_cicld(\.\w+)+', text)]
ROOMS = sorted(path.name for path in PACKAGE.iterdir() if (path / '__init__.py').is_file())


def _arrows() -> dict[str, set[str]]:
    """Returns what each room may import, from the table of the page."""
    rows = re.findall(r'^\| `(\w+)/` \| (.+?) \|', PAGE, flags=re.MULTILINE)
    return {room: set(re.findall(r'`(\w+)/`', allowed)) for room, allowed in rows}


def _imports(room: str) -> dict[str, set[str]]:
    """Returns the rooms that the files of a room import, with the files that do."""
    found: dict[str, set[str]] = {}
    for path in (PACKAGE / room).rglob('*.py'):
        package = ['mmseg_cicld', *path.relative_to(PACKAGE).parent.parts]
        for part in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(part, ast.ImportFrom):
                base = package[:len(package) - part.level + 1] if part.level else []
                whole = [*base, *(part.module or '').split('.')]
                targets = [whole[1]] if len(whole) > 1 and whole[1] else [alias.name for alias in part.names]
                if whole[0] == 'mmseg_cicld':
                    for target in set(targets) & set(ROOMS) - {room}:
                        found.setdefault(target, set()).add(path.name)
    return found


def test_page_names_files_and_objects():
    assert len(PATHS) > 15 and len(NAMES) > 10 and set(_arrows()) == set(ROOMS)


@pytest.mark.parametrize('path', PATHS)
def test_files_of_the_page_exist(path):
    assert any((folder / path).exists() for folder in (ROOT, PACKAGE)), path


@pytest.mark.parametrize('name', NAMES)
def test_names_of_the_page_exist(name):
    parts = name.split('.')
    length = next(n for n in range(len(parts), 0, -1) if Path(ROOT, *parts[:n]).with_suffix('.py').is_file()
                  or Path(ROOT, *parts[:n], '__init__.py').is_file())
    found = importlib.import_module('.'.join(parts[:length]))
    for attribute in parts[length:]:
        found = getattr(found, attribute)


@pytest.mark.parametrize('room', ROOMS)
def test_rooms_import_what_the_arrows_allow(room):
    imported, allowed = _imports(room), _arrows()[room]
    assert set(imported) == allowed, {target: files for target, files in imported.items() if target not in allowed}
