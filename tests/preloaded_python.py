"""A Python that has imported the package, and forks for each command: a process as any other, five seconds earlier.

The commands are processes of their own, with their own streams, environment, session, signals and exit codes; what they
do not have is an interpreter that was started for them. What the package imports by itself is imported before; what a
command imports beyond that, it imports. A command that ends with Ctrl-C may end with code 1 in place of the signal.
:func:`python` gives the program that takes the place of ``python``.
"""
import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import random
import runpy
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from python_relay import LENGTH, STATUS

HERE = Path(__file__).parent
# What a training imports: the package, and what of torch, mmseg and others is imported when it begins.
PACKAGE = ('mmseg_cicld.command_line', 'mmseg.visualization', 'matplotlib.pyplot', 'torch._dynamo', 'torch.onnx')


@functools.cache
def python(*modules: str) -> Path:
    """Starts the process, once for each process of the tests, and returns a program to be called in place of Python.

    Args:
        modules: What is imported before; by default the package.
    """
    if not hasattr(os, 'pidfd_open'):  # another system than Linux: an interpreter for each command
        return Path(sys.executable)
    folder = tempfile.TemporaryDirectory(prefix='preloaded_python_')
    path = Path(folder.name) / 'socket'
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    server = subprocess.Popen(
        [sys.executable, '-W', 'ignore', __file__, str(listener.fileno()), *(modules or PACKAGE)], stdin=subprocess.PIPE,
        pass_fds=[listener.fileno()], env={**os.environ, 'PYTHONPATH': str(HERE.parent), 'OMP_NUM_THREADS': '1'})
    listener.close()
    program = Path(folder.name) / 'python'
    words = shlex.join([sys.executable, '-IS', str(HERE / 'python_relay.py'), str(path), sys.executable])
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o755)
    atexit.register(folder.cleanup)
    atexit.register(server.communicate)  # it ends with its standard input, also where the tests were killed
    return program


class Server:
    """Takes commands and forks for each; tells whoever asked how it ended.

    Args:
        listener: The socket where commands arrive.
    """

    def __init__(self, listener: socket.socket) -> None:
        # Not epoll, which forked processes would share.
        self._listener, self._selector = listener, selectors.PollSelector()
        self._selector.register(listener, selectors.EVENT_READ, self._start)
        self._selector.register(sys.stdin, selectors.EVENT_READ, lambda: sys.exit(0))
        self._command: dict | None = None

    def command(self) -> dict:
        """Serves, and returns in every forked process, with its command."""
        while self._command is None:
            key, _ = self._selector.select()[0]  # one at a time: it may end what another is about
            key.data()
        return self._command

    def _start(self) -> None:
        asking, _ = self._listener.accept()
        header, streams, _, _ = socket.recv_fds(asking, LENGTH.size, 3)
        command = json.loads(asking.recv(*LENGTH.unpack(header), socket.MSG_WAITALL))
        pid = os.fork()
        if pid == 0:
            self._leave(asking, streams)
            self._command = command
            return
        for stream in streams:
            os.close(stream)
        ended = os.pidfd_open(pid)
        self._selector.register(ended, selectors.EVENT_READ, lambda: self._end(asking, pid, ended))
        self._selector.register(asking, selectors.EVENT_READ, lambda: self._signal(asking, pid))

    def _leave(self, asking: socket.socket, streams: list[int]) -> None:
        """Makes the forked process one of its own."""
        os.setsid()
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
        for key in self._selector.get_map().values():
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
            elif key.fileobj is not sys.stdin:
                os.close(key.fileobj)
        asking.close()
        for stream in streams:
            os.close(stream)

    def _signal(self, asking: socket.socket, pid: int) -> None:
        number = asking.recv(1)
        if not number:  # whoever asked was killed
            self._selector.unregister(asking)
        try:
            os.killpg(pid, number[0] if number else signal.SIGKILL)
        except ProcessLookupError:  # not yet a group of its own
            os.kill(pid, number[0] if number else signal.SIGKILL)

    def _end(self, asking: socket.socket, pid: int, ended: int) -> None:
        self._selector.unregister(ended)
        os.close(ended)
        if asking in self._selector.get_map():
            self._selector.unregister(asking)
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(BrokenPipeError):
            asking.sendall(STATUS.pack(status))
        asking.close()


def run(words: list[str], cwd: str, env: dict[str, str]) -> None:
    """Does in this process what ``python WORDS...`` does in that folder, with that environment."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    random.seed()
    sys.modules['numpy'].random.seed()  # a process of its own draws its own numbers where nothing is seeded
    if '-u' in words[:3]:
        words.remove('-u')
        sys.stdout.reconfigure(write_through=True)
    words = words[2:] if words[0] == '-W' else words
    sys.executable = env.get('PYTHON_EXEC', sys.executable)  # for the processes that it starts
    own = [os.path.abspath(part) for part in env.get('PYTHONPATH', '').split(os.pathsep) if part]
    rest = [part for part in sys.path[1:] if part != str(HERE.parent)]
    kind, sys.argv = (words[0], words[1:]) if words[0] in ('-c', '-m') else ('', words)
    sys.path[:] = [{'-c': '', '-m': cwd}.get(kind, str(Path(words[0]).resolve().parent)), *own, *rest]
    if kind == '-c':
        text, sys.argv[0] = sys.argv[0], '-c'
        exec(compile(text, '<string>', 'exec'), dict(__name__='__main__'))
    elif kind == '-m':
        runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
    else:
        runpy.run_path(os.path.abspath(sys.argv[0]), run_name='__main__')


if __name__ == '__main__':
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    run(**Server(socket.socket(fileno=int(sys.argv[1]))).command())
