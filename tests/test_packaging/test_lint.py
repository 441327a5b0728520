"""The rules of pyproject.toml find what they are there for, and everything that checks goes through tools/lint.sh."""
import importlib.util
import sys

import pytest
import yaml
from shell_commands import ROOT, run

FAULTS = {
    'undefined': ('ruff', '"""Doc."""\nprint_it = missing\n', 'F821'),
    'undocumented': ('ruff', '"""Doc."""\n\n\ndef shown(value: int) -> int:\n    return value\n', 'D103'),
    'untyped': ('ruff', '"""Doc."""\n\n\ndef shown(value) -> int:\n    """Returns it."""\n    return value\n', 'ANN001'),
    'unordered': ('isort', '"""Doc."""\nimport sys\nimport os\n', 'incorrectly sorted'),
    'call': ('mypy', '"""Doc."""\nfrom mmseg_cicld.random_streams import KeyedStreams\nKeyedStreams(0, 1, 2, 3, 4)\n',
             'call-arg'),
    'none': ('mypy', '"""Doc."""\nimport re\nre.match("a", "b").group()\n', 'union-attr'),
}
OPTIONS = {
    'ruff': ['check', '--no-cache', '--config', ROOT / 'pyproject.toml'],
    'isort': ['--check-only', '--settings-path', ROOT],
    'mypy': ['--config-file', ROOT / 'pyproject.toml', '--strict-optional'],
}


@pytest.mark.parametrize(('tool', 'text', 'message'), FAULTS.values(), ids=FAULTS)
def test_faults_are_found_by_the_rules_of_the_project(tool, text, message, tmp_path):
    assert importlib.util.find_spec(tool), f'{tool} is missing: run bash tools/setup_env.sh --tests'
    (tmp_path / 'faulty.py').write_text(text)
    done = run([sys.executable, '-m', tool, *OPTIONS[tool], tmp_path / 'faulty.py'], cwd=ROOT, code=1)
    assert message in done.stdout + done.stderr


def test_tests_and_commits_are_checked_by_one_script():
    hook, = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())['repos'][0]['hooks']
    assert hook['entry'] == 'bash tools/lint.sh'
    assert 'if (($# == 0)); then\n    bash tools/lint.sh\n' in (ROOT / 'tools/run_tests.sh').read_text()
    lint = (ROOT / 'tools/lint.sh').read_text()
    assert all(f'/{tool}"' in lint for tool in OPTIONS)
