"""Stands in for ``python``: has its command run by the process of preloaded_python.py, which has imported already.

``python -IS python_relay.py SOCKET PYTHON WORDS...`` ends as ``PYTHON WORDS...`` would, with its output, its exit code or
its signal; signals are handed on. What needs an interpreter of its own (``python -m pip``, other options) gets PYTHON.
"""
import array
import json
import os
import signal
import socket
import struct
import sys

LENGTH = struct.Struct('!I')
STATUS = struct.Struct('!i')
HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
MODULES = ('mmseg_cicld.', 'torch.distributed.run', 'mim')


def understood(words: list[str]) -> bool:
    """Whether these are ``[-u] [-W ignore] (SCRIPT | -c TEXT | -m MODULE) ...`` with a module of those above."""
    words = [word for word in words[:3] if word != '-u'] + words[3:]
    words = words[2:] if words[:2] == ['-W', 'ignore'] else words
    if len(words) >= 2 and words[0] == '-m':
        return words[1].startswith(MODULES)
    return bool(words) and (words[0].endswith('.py') or (words[0] == '-c' and len(words) > 1))


def ask(server: socket.socket, words: list[str]) -> None:
    """Sends the command with working directory, environment and the three standard streams."""
    message = json.dumps(dict(words=words, cwd=os.getcwd(), env=dict(os.environ))).encode()
    streams = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0, 1, 2]))]
    server.sendmsg([LENGTH.pack(len(message))], streams)
    server.sendall(message)


def end_as(status: int) -> None:
    """Ends this process as the other one has ended."""
    if not os.WIFSIGNALED(status):
        os._exit(os.waitstatus_to_exitcode(status))
    signum = os.WTERMSIG(status)
    if signum != signal.SIGKILL:
        signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)


def main() -> None:
    """Does what the command line says."""
    path, python, *words = sys.argv[1:]
    if not understood(words):
        os.execv(python, [python, *words])
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        for signum in HANDED_ON:
            if signal.getsignal(signum) != signal.SIG_IGN:  # nohup keeps its meaning
                signal.signal(signum, lambda number, frame: server.sendall(bytes([number])))
        ask(server, words)
        end_as(STATUS.unpack(server.recv(STATUS.size, socket.MSG_WAITALL))[0])


if __name__ == '__main__':
    main()
