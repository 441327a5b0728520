"""Runs programs as a user does: as processes, with this package importable, away from the source tree."""
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import preloaded_python

ROOT = Path(__file__).parents[1]
STREET = ('--source-train', '3', '--source-val', '1', '--target-train', '3', '--target-val', '2', '--nproc', '1')
# A quick-start config in seconds: two iterations on one image, the loaders in the same process.
SHRUNK = ('train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'train_dataloader.batch_size=1',
          'train_dataloader.dataset.rare_class_sampling=None', 'default_hooks.checkpoint.interval=1',
          'default_hooks.checkpoint.max_keep_ckpts=2',
          *(f'{part}_dataloader.{key}' for part in ('train', 'val', 'test')
            for key in ('num_workers=0', 'persistent_workers=False')))


def environment(**changes: str) -> dict[str, str]:
    """Returns the environment of a process that finds this source tree, the Python of the tests, and one thread."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'PATH': path, **changes}


def preloaded_environment(**changes: str) -> dict[str, str]:
    """The same, where ``python`` and the processes of ``torch.distributed.run`` have imported before they start."""
    program, env = preloaded_python.python(), environment()
    return {**env, 'PATH': os.pathsep.join([str(program.parent), env['PATH']]), 'PYTHON_EXEC': str(program), **changes}


def run(command: Sequence[str | Path], cwd: Path, env: Mapping[str, str] | None = None,
        code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs a program and checks its exit code.

    Args:
        command: The program and its arguments.
        cwd: The folder to run it in.
        env: The environment, by default :func:`environment`.
        code: The exit code that is expected.

    Returns:
        The finished process with its output as text.
    """
    with subprocess.Popen([str(word) for word in command], cwd=cwd, env=dict(env or environment()), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        try:
            stdout, stderr = process.communicate(timeout=900)
        except BaseException:  # the timeout of the test, or Ctrl-C: what the program has started ends with it
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == code, f'{command} ended with {process.returncode}:\n{stdout[-4000:]}\n{stderr[-4000:]}'
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


@functools.cache
def onedl_environment() -> Path:
    """Makes the environment of the fork in the source tree, or finds it made, and returns its folder."""
    run(['bash', ROOT / 'tools' / 'setup_env.sh', '--stack', 'onedl'], cwd=ROOT, env=environment(VENV=''))
    return ROOT / '.venv-onedl'


def python(*arguments: str | Path, cwd: Path, **kwargs) -> subprocess.CompletedProcess[str]:
    """Runs Python on a script or ``-c`` text, see :func:`run`; warnings of other packages are left out."""
    return run([sys.executable, '-W', 'ignore', *arguments], cwd=cwd, **kwargs)


def preloaded(*arguments: str | Path, cwd: Path, **kwargs) -> subprocess.CompletedProcess[str]:
    """Does the same as :func:`python` in a process that has imported the package already, see preloaded_python.py."""
    return run([preloaded_python.python(), '-W', 'ignore', *arguments], cwd=cwd, **kwargs)


def interrupt(command: Sequence[str | Path], cwd: Path, is_time: Callable[[], bool], signum: int,
              env: Mapping[str, str] | None = None) -> str:
    """Starts a program, sends a signal to it and to all that it has started, and waits for its end.

    Args:
        command: The program and its arguments.
        cwd: The folder to run it in.
        is_time: Whether the moment of the signal has come; asked again and again.
        signum: The signal.
        env: The environment, by default :func:`environment`.

    Returns:
        What it printed.
    """
    with subprocess.Popen([str(word) for word in command], cwd=cwd, env=dict(env or environment()), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True) as process:
        try:
            while not is_time():
                assert process.poll() is None, process.communicate()[0][-4000:]
                time.sleep(0.005)
            os.killpg(process.pid, signum)
            printed = process.communicate(timeout=200)[0]
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0
    return printed


def render_tiny_street(folder: Path) -> None:
    """Renders a few images of the street set to ``folder/data/street``, where the quick-start configs look."""
    preloaded(ROOT / 'tools/dataset_converters/render_street_set.py', 'data/street', *STREET, cwd=folder)
