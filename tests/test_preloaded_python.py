"""The Python that has imported before it starts does what Python does."""
import os
import signal
import subprocess
import sys
from pathlib import Path

import preloaded_python
import pytest
from shell_commands import environment, interrupt, preloaded

SCRIPT = 'import sys, beside\nprint(__name__, __file__, sys.argv[1:], beside.VALUE, sys.path[0])\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / 'scripts').mkdir()
    (tmp_path / 'scripts/script.py').write_text(SCRIPT)
    (tmp_path / 'scripts/beside.py').write_text('VALUE = 3\n')
    return tmp_path


@pytest.mark.parametrize('words', [
    ['-c', 'import sys; print(sys.argv, sys.path[0]); sys.exit(3)', 'a', '--b'],
    ['-c', 'import sys; sys.exit("a message")'],
    ['-c', '1 / 0'],
    ['-c', 'import os; os.kill(os.getpid(), 9)'],
    ['-c', 'import os, signal; signal.raise_signal(signal.SIGTERM)'],
    ['-c', 'import atexit; atexit.register(print, "at the end"); print(__name__)'],
    ['-c', 'import os; print(input(), os.getcwd(), os.environ["GIVEN"], os.environ.get("PYTHONHASHSEED"))'],
    ['-u', 'scripts/script.py', '--option', 'x'],
    ['-W', 'ignore', 'scripts/script.py'],
    ['-m', 'beside'],
    ['--version'],
], ids=lambda words: ' '.join(words)[:40])
def test_commands_end_as_in_an_interpreter_of_their_own(folder, words):
    one, other = (subprocess.run([python, *words], cwd=folder, input='a line\n', text=True, capture_output=True,
                                 env=environment(GIVEN='value'))
                  for python in (sys.executable, preloaded_python.python()))
    assert (one.returncode, one.stdout) == (other.returncode, other.stdout)
    assert one.stderr.splitlines()[-1:] == other.stderr.splitlines()[-1:]


def test_it_has_imported_before_and_draws_its_own_numbers(tmp_path):
    code = ('import os, random, sys, numpy; assert "mmseg_cicld" in sys.modules and "torch" in sys.modules; '
            'print(random.random(), numpy.random.rand(), os.getpid(), os.getsid(0))')
    one, other = (preloaded('-c', code, cwd=tmp_path).stdout.split() for _ in range(2))
    assert one[0] != other[0] and one[1] != other[1] and one[2] != other[2]
    assert one[2] == one[3] != str(os.getsid(0))


@pytest.mark.parametrize('signum', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_reach_it_and_what_it_has_started(tmp_path, signum):
    code = ('import pathlib, subprocess\n'
            'child = subprocess.Popen(["sleep", "600"]); pathlib.Path("begun").touch(); child.wait()')
    command = ['env', '--default-signal=INT', preloaded_python.python(), '-c', code]
    # It ends when nobody holds the pipe of its output any more, so the other process is gone too.
    printed = interrupt(command, tmp_path, (tmp_path / 'begun').exists, signum)
    assert ('KeyboardInterrupt' in printed) == (signum == signal.SIGINT)
