"""The package imports on Windows: nothing of it needs what only POSIX systems have."""
import ast
import os
import runpy
import sys

import pytest
from shell_commands import ROOT, python

from mmseg_cicld.processor_cores import usable_cores

FORKING = 'forked_tests.py'  # of the mutation run, which says that it needs fork
MODULES = ('fcntl', 'grp', 'posix', 'pty', 'pwd', 'readline', 'resource', 'spwd', 'syslog', 'termios', 'tty')
NAMES = dict(
    os='chown chroot fchmod fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid getpgrp getsid getuid '
       'killpg lchown lockf mkfifo mknod nice openpty posix_fadvise posix_fallocate posix_spawn pread '
       'pwrite register_at_fork sched_getaffinity sched_setaffinity sched_yield sendfile setgid setpgid setsid setuid '
       'statvfs sync sysconf tcgetpgrp ttyname uname wait wait3 wait4 waitid WEXITSTATUS WIFEXITED WIFSIGNALED WNOHANG '
       'WTERMSIG O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_SYNC'.split(),
    signal='SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGIO SIGKILL SIGPIPE SIGPROF SIGQUIT SIGSTOP SIGTSTP SIGTTIN SIGTTOU '
           'SIGURG SIGUSR1 SIGUSR2 SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ ITIMER_REAL alarm getitimer pause pthread_kill '
           'pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait'.split(),
    socket=['AF_UNIX'], time=['tzset'], select=['epoll', 'poll'])
# torch, mmseg and diffusers are imported before: what they ask for by hasattr, or import on Linux only, is theirs. So
# this says that the package itself needs nothing of POSIX, and nothing of how its hosts run on Windows.
WITHOUT_POSIX = '''
import builtins, importlib, importlib.util, pkgutil, sys
MODULES, NAMES, ROOT = eval(sys.argv[1])
spec = importlib.util.spec_from_file_location("hosts", ROOT + "/mmseg_cicld/compat.py")
hosts = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hosts)
hosts.import_hosts()
for name in ("mmseg.apis", "mmseg.datasets", "mmseg.engine", "mmseg.evaluation", "mmseg.models", "mmseg.visualization",
             "diffusers", "matplotlib.pyplot", "PIL.Image", "scipy.ndimage", "filelock", "rich.progress"):
    importlib.import_module(name)
assert not [name for name in sys.modules if name.startswith("mmseg_cicld")]

imported = builtins.__import__
def posix_free(name, given=None, *rest):
    if name.split(".")[0] in MODULES and str((given or {}).get("__name__")).startswith("mmseg_cicld"):
        raise ModuleNotFoundError("No module named " + repr(name))
    return imported(name, given, *rest)
builtins.__import__ = posix_free
for module, names in NAMES.items():
    for name in names:
        vars(importlib.import_module(module)).pop(name, None)

import mmseg_cicld
found = [module.name for module in pkgutil.walk_packages(mmseg_cicld.__path__, "mmseg_cicld.")]
for name in found:
    importlib.import_module(name)
print(len(found))
'''


def _uses(source: str) -> list[str]:
    """Lists what a file takes of POSIX by name; ``getattr`` and a guarded import have an answer where it is missing."""
    tree = ast.parse(source)
    guarded = {id(part) for block in ast.walk(tree) if isinstance(block, ast.Try) for part in ast.walk(block)}
    found = []
    for part in ast.walk(tree):
        if isinstance(part, ast.Attribute) and part.attr in NAMES.get(getattr(part.value, 'id', None), ()):
            found.append(f'{part.lineno}: {part.value.id}.{part.attr}')
        if isinstance(part, (ast.Import, ast.ImportFrom)) and id(part) not in guarded:
            names = [alias.name for alias in part.names]
            module = getattr(part, 'module', None)
            found += [f'{part.lineno}: {name}' for name in names if name in (NAMES.get(module, ()) if module else MODULES)]
            found += [f'{part.lineno}: {module}'] * (module in MODULES)
    return found


def test_every_module_imports_without_what_windows_has_not(tmp_path):
    done = python('-c', WITHOUT_POSIX, repr((MODULES, NAMES, str(ROOT))), cwd=tmp_path)
    assert int(done.stdout.splitlines()[-1]) == len([*(ROOT / 'mmseg_cicld').rglob('*.py')]) - 1  # but the package's own


@pytest.mark.parametrize('folder', ['mmseg_cicld', 'tools', 'configs'])
def test_nothing_of_posix_is_used_by_name(folder):
    uses = {path.relative_to(ROOT).as_posix(): _uses(path.read_text(encoding='utf-8'))
            for path in sorted((ROOT / folder).rglob('*.py')) if path.name != FORKING}
    assert {path: found for path, found in uses.items() if found} == {}, 'ask with getattr, and take a portable twin'


@pytest.mark.parametrize(('source', 'found'), [
    ('import os\nos.sched_getaffinity(0)', ['2: os.sched_getaffinity']), ('import fcntl', ['1: fcntl']),
    ('def f():\n    from resource import getrusage', ['2: resource']), ('from signal import SIGHUP', ['1: SIGHUP']),
    ("import os\ngetattr(os, 'fork', None)", []), ('try:\n    import pwd\nexcept ImportError:\n    pwd = None', []),
])
def test_uses_by_name_are_seen(source, found):
    assert _uses(source) == found


def test_cores_are_counted_where_the_system_does_not_tell_which_may_be_used(monkeypatch):
    if hasattr(os, 'sched_getaffinity'):
        assert usable_cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
    assert usable_cores() == os.cpu_count()
    monkeypatch.setattr(os, 'cpu_count', lambda: None)
    assert usable_cores() == 1


def test_benchmark_of_a_step_says_where_memory_is_not_counted(monkeypatch):
    script = str(ROOT / 'tools' / 'analysis_tools' / 'benchmark_step.py')
    assert runpy.run_path(script)['peak_memory']('cpu')['peak_memory_mib'] > 10
    monkeypatch.setitem(sys.modules, 'resource', None)
    assert runpy.run_path(script)['peak_memory']('cpu') == dict(peak_memory_mib=None, memory_of='not counted by this system')
