"""Writes which test executes which line, in the process of the tests and in all Python programs that they start.

The mutation test copies this file, as ``sitecustomize.py``, to the root of the copied project: Python imports it at the start
of every program that has the project on its path. pytest names the running test in the environment, which programs inherit.
"""
import inspect
import os
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

TRACED, LINES = 'MUTATION_TEST_TRACED', 'MUTATION_TEST_LINES'  # folders between ':', and the file that is written


def start() -> None:
    """Traces the folders that the environment names; a line is written once for each test, as TEST, FILE, LINE."""
    folders = tuple(os.environ[TRACED].split(':'))
    file = os.open(os.environ[LINES], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    seen: set[tuple[str, str, int]] = set()
    unwritten = bytearray()

    def on_line(frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code  # that of a module or class runs once, for all tests
        test = os.environ.get('PYTEST_CURRENT_TEST', '') if code.co_flags & inspect.CO_OPTIMIZED else ''
        place = (test, code.co_filename, frame.f_lineno)
        if place not in seen:
            seen.add(place)
            unwritten.extend('\t'.join(map(str, place)).encode() + b'\n')
            with suppress(OSError):  # a test limits the size of files: what is left is written with a later line
                del unwritten[:os.write(file, unwritten)]
        return on_line

    def on_call(frame: FrameType, event: str, argument: object) -> Any:
        return on_line if frame.f_code.co_filename.startswith(folders) else None

    threading.settrace(on_call)
    sys.settrace(on_call)


if TRACED in os.environ:
    start()
