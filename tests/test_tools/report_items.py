"""Items of a GPU report that end well, fail, or take long; they need no torch."""
import os
import time
from pathlib import Path


def quick(setting, folder: Path) -> dict:
    return dict(speedup=1.5)


def broken(setting, folder: Path) -> dict:
    with (folder.parents[1] / 'tries').open('a') as stream:
        stream.write('x')
    raise ValueError('no such kernel')


def killed(setting, folder: Path) -> dict:
    print('about to end', flush=True)
    os.abort()


def without_package(setting, folder: Path) -> dict:
    import a_package_that_nobody_has  # noqa: F401


def waiting(setting, folder: Path) -> dict:
    """Waits while there is a file ``wait`` beside the items; says which process does."""
    while (folder.parents[1] / 'wait').exists():
        (folder.parents[1] / 'process').write_text(str(os.getpid()))
        time.sleep(0.05)
    return dict(speedup=1.0)
