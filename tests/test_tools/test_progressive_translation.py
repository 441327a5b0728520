"""tools/progressive_translation.py as a user runs it: killed in a round, and with a wrong config."""
import os
import signal
import sys
from pathlib import Path

import preloaded_python
import pytest
from mmengine.config import Config
from shell_commands import ROOT, environment, interrupt, preloaded

TOOL = ROOT / 'tools/progressive_translation.py'
sys.path.insert(0, str(ROOT / 'tests/test_translation'))  # the config of the segmentors imports from there

from tiny_progressive import write_progressive  # noqa: E402

ENVIRONMENT = environment(PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / 'tests/test_translation')]))
COMMAND = [TOOL, 'rounds.py', '--work-dir', 'out']


@pytest.fixture
def folder(tmp_path) -> Path:
    rounds = [dict(level=0.2, iterations=2), dict(level=0.4, iterations=0)]
    write_progressive(tmp_path, rounds).dump(tmp_path / 'rounds.py')
    return tmp_path


def test_killed_in_the_training_of_a_round_it_goes_on(folder):
    interrupt([preloaded_python.python(), *COMMAND], folder, (folder / 'out/round_1/training_1/iter_1.pth').exists,
              signal.SIGKILL, ENVIRONMENT)
    images = {path: path.stat().st_mtime_ns for path in (folder / 'out/round_1/dataset/images').rglob('*.png')}
    done = preloaded(*COMMAND, cwd=folder, env=ENVIRONMENT)
    assert 'translated dataset: out/round_2/dataset' in done.stdout
    assert len(images) == 5 and images == {path: path.stat().st_mtime_ns for path in images}


def test_mistakes_are_one_line(folder):
    config = Config.fromfile(folder / 'rounds.py')
    config.pop('progressive')
    config.dump(folder / 'rounds.py')
    done = preloaded(*COMMAND, cwd=folder, env=ENVIRONMENT, code=1)
    assert 'error: progressive of the config is wrong' in done.stderr
    assert 'Traceback' not in done.stderr
