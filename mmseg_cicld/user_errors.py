"""Tells a mistake of the user, for which one line is enough, from a fault of a program, which needs its stack.

Who writes a ``raise`` statement has something to say to the caller. So an error that a statement of this package
raises is the user's, as is one that a statement of any package raises while a config is built. What Python, torch or
a compiled library raises while the program works is a fault of the program, and keeps its stack.
"""
import errno
import re
import traceback

import torch
from PIL import Image

from .build_errors import building, explain_build_error, instruction, shortened, stack

_SPOKEN = (ValueError, TypeError, KeyError, RuntimeError, OSError, NotImplementedError, ImportError)
_OF_A_BUILD = (*_SPOKEN, AssertionError)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_KILLED = re.compile(r'DataLoader worker \(pid\S* ([\d, ]+)\) (is killed by signal: (.+?)\.|exited unexpectedly)')
_PACKAGE = 'mmseg_cicld'


def one_line(error: Exception) -> str | None:
    """Returns what a user needs to know of an error, in one line; None if the error is a fault of a program.

    Args:
        error: As it was caught, with its traceback.
    """
    for find in (_of_worker, _of_machine, explain_build_error, _spoken):
        if text := find(error):
            return ' '.join(text.split())
    return None


def _spoken(error: Exception) -> str | None:
    """Takes the words of an error that a statement has raised, see above."""
    frames = stack(error)
    if _is_ours(type(error).__module__):  # an error of our own may come from another process
        return str(error)
    if not frames or instruction(frames[-1]) != 'RAISE_VARARGS':
        return None
    if isinstance(error, _SPOKEN) and _is_ours(frames[-1].tb_frame.f_globals.get('__name__', '')):
        return str(error)
    if isinstance(error, _OF_A_BUILD) and building(frames):
        code = frames[-1].tb_frame.f_code
        place = f'{"/".join(code.co_filename.split("/")[-3:])}:{frames[-1].tb_lineno}'
        return f'the config cannot be built ({place}): {shortened(_words(error))}'
    return None


def _of_machine(error: Exception) -> str | None:
    """Says what a disk, a permission or the memory of a GPU refuses."""
    if isinstance(error, torch.OutOfMemoryError):
        return (f'the memory of the GPU is full ({str(error).split(". ")[0]}): lower train_dataloader.batch_size, '
                'train with --amp, or set with_cp=True in the backbone')
    if isinstance(error, Image.DecompressionBombError):
        return f'an image or label is larger than Pillow reads ({error}): cut the large files of the dataset into tiles'
    if isinstance(error, OSError) and error.errno is not None and (error.filename is not None or error.errno in _FULL):
        return f'{error.filename or "a file"}: {error.strerror}. Correct the path, its permissions, or the room there'
    return None


def _of_worker(error: Exception) -> str | None:
    """Says what has ended a worker of a data loader or a pool; its own stack stands in the text of the error."""
    killed = _KILLED.search(str(error))
    if killed is not None:
        how = f'by signal {killed.group(3)}' if killed.group(3) else 'without a word'
        return (f'a worker of a data loader (process {killed.group(1).strip()}) was ended {how}: mostly the memory is '
                'full (lower train_dataloader.num_workers or batch_size) or, with a bus error, /dev/shm (in a '
                'container: --shm-size)')
    if type(error.__cause__).__name__.endswith('RemoteTraceback'):  # of multiprocessing and concurrent.futures
        return _words_of_worker(str(error.__cause__).strip('\n"'))
    frames = stack(error)
    if not frames or frames[-1].tb_frame.f_globals.get('__name__') != 'torch._utils':
        return None
    return _words_of_worker(str(error))


def _words_of_worker(text: str) -> str | None:
    """Takes the message out of the stack that a worker has sent, if a statement of this package has raised it."""
    place = re.findall(r'^  File "([^"]+)", line \d+, in .+\n {4}(.*)$', text, re.M)
    found = re.split(r'^[\w.]+(?:Error|Exception)(?:: |$)', text, flags=re.M)
    if not place or len(found) < 2:
        return None
    if 'DecompressionBombError' in text:
        return f'an image or label is larger than Pillow reads ({found[-1].strip()}): cut the large files into tiles'
    file, statement = place[-1]
    return found[-1] if f'/{_PACKAGE}/' in file and statement.startswith('raise ') else None


def _is_ours(module: str) -> bool:
    # Programs in tools/ run as __main__.
    return module.split('.')[0] in (_PACKAGE, '__main__')


def _words(error: Exception) -> str:
    """Returns the message; a KeyError would put it into quotation marks, an assertion may have none."""
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    return str(error) or traceback.format_exception_only(error)[-1]
