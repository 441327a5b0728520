"""Every command of the README and of the pages in docs runs, in order, in a folder that looks like a fresh clone."""
import os
import re
import socket
from pathlib import Path

import pytest
from readme_commands import Block, read_blocks
from shell_commands import ROOT, environment, onedl_environment, preloaded_environment, run

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
BLOCKS = [(page, block) for page in PAGES for block in read_blocks(page)]
pytestmark = pytest.mark.timeout(600)
# What commands write is written to the folder of the test.
OWN = ('.git', 'data', 'work_dirs', 'build', 'dist', '.venv-onedl')


@pytest.fixture(scope='module')
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links to everything in the repository, but with its own data and results."""
    folder = tmp_path_factory.mktemp('clone')
    for part in ROOT.iterdir():
        if part.name not in OWN:
            (folder / part.name).symlink_to(part)
    return folder


@pytest.mark.parametrize('page, block', [pytest.param(page, block, id=f'{page.name}-line-{block.line}')
                                   for page, block in BLOCKS if not block.skip])
def test_commands_run(page: Path, block: Block, clone: Path):
    """The README's scripts start interpreters of their own; all other commands are processes that imported before."""
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        port = str(probe.getsockname()[1])
    env = environment if page.name == 'README.md' and block.script.startswith('bash ') else preloaded_environment
    if '--stack onedl' in block.script:  # tests/test_packaging/test_onedl_stack.py needs the same environment
        (clone / onedl_environment().name).symlink_to(onedl_environment())
    # `run` compares the exit code, and shows the output if it is another.
    done = run(['bash', '-euo', 'pipefail', '-c', block.shrunk()], cwd=clone, env=env(PORT=port, **block.env))
    assert done.returncode == 0


def test_programs_import_themselves_what_is_imported_before_they_start():
    for page, block in BLOCKS:
        for name in set(re.findall(r'tools/\w+(?:/\w+)?\.py', block.script)):
            lines = (ROOT / name).read_text(encoding='utf-8').splitlines()
            assert any(line.startswith(('import mmseg_cicld', 'from mmseg_cicld')) for line in lines), f'{page}: {name}'


def test_only_what_no_test_machine_has_is_left_out():
    skipped = [block for _, block in BLOCKS if block.skip]
    reasons = ('needs a container engine', 'needs a GPU', 'needs SLURM', 'needs a published checkpoint')
    assert all(block.skip.startswith(reasons) for block in skipped)
    assert len(skipped) < len(BLOCKS) / 2


@pytest.mark.parametrize('page', [*PAGES, ROOT / 'CHANGELOG.md', ROOT / 'CONTRIBUTING.md',
                                  *sorted((ROOT / 'configs').glob('*/README.md'))],
                         ids=lambda page: str(page.relative_to(ROOT)))
def test_linked_files_exist(page):
    for target in _links(page.read_text(encoding='utf-8')):
        file, _, heading = target.partition('#')
        assert (page.parent / file).exists(), target
        assert not heading or heading in _anchors(page.parent / file if file else page), target


def _links(text: str) -> list[str]:
    targets = [part.partition(')')[0] for part in text.split('](')[1:]]
    return [target for target in targets if '://' not in target]


def _anchors(page: Path) -> set[str]:
    headings = [line.lstrip('#').strip() for line in page.read_text(encoding='utf-8').splitlines() if line.startswith('#')]
    return {re.sub(r'[^\w -]', '', heading).lower().replace(' ', '-') for heading in headings}


@pytest.mark.parametrize(('page', 'message'), [
    ('```sh\nls\n```', 'write ```bash'),
    ('<!-- ci: shrink -->\n```bash\nls\n```', 'is not one of'),
    ('<!-- ci: env A=1 -->\ntext\n```bash\nls\n```', 'right before its block'),
])
def test_mistakes_in_the_page_are_named(page, message, tmp_path):
    (tmp_path / 'page.md').write_text(page)
    with pytest.raises(ValueError, match=message):
        read_blocks(tmp_path / 'page.md')


def test_a_replacement_without_its_text_is_named():
    with pytest.raises(AssertionError, match="no 'cd'"):
        Block(1, 'ls\n', [('cd', 'pwd')]).shrunk()


def test_failing_commands_fail(tmp_path):
    (tmp_path / 'page.md').write_text('```bash\nfalse\ntrue\n```\n')
    block, = read_blocks(tmp_path / 'page.md')
    with pytest.raises(AssertionError, match='ended with 1'):
        run(['bash', '-euo', 'pipefail', '-c', block.shrunk()], cwd=tmp_path, env=dict(os.environ))
