"""Runs tests in forks of a process that has imported the large libraries, and nothing of the package. POSIX only.

A fork imports the package as it is in its folder at that time, so each fork sees its own change of the code.
"""
import contextlib
import importlib
import importlib.util
import json
import math
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import line_tracing
import pytest

LIBRARIES = ('torch.distributed.optim', 'torch.distributed.fsdp', 'torch.distributed.tensor', 'torchvision.transforms.v2',
             'scipy.optimize', 'cv2', 'PIL.Image', 'mmengine.runner', 'mmseg.apis', 'mmseg.datasets', 'mmseg.engine',
             'mmseg.evaluation', 'mmseg.models', 'diffusers.models', 'diffusers.schedulers', 'transformers', 'peft', 'timm',
             'PIL.ImageFile', 'PIL.PngImagePlugin', 'hypothesis', '_hypothesis_pytestplugin',
             'anyio.pytest_plugin', 'pytest_timeout', 'xdist.plugin')
SLOWEST = 20  # times as many seconds by the clock as of processor time, on a busy machine


@dataclass
class TestRun:
    """What became of tests: the outcome, the tests that failed, with their last words, and the seconds of those that passed."""

    outcome: str
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class Selection:
    """Plugin of pytest that keeps the named tests, in their order, and writes what becomes of them.

    Args:
        names: The tests to run; None for all.
        file: The file to write.
        enough: Seconds of processor time after which no other test begins.
    """

    def __init__(self, names: Sequence[str] | None, file: Path, enough: float) -> None:
        self._order = None if names is None else {name: index for index, name in enumerate(names)}
        self._file, self._enough, self._seconds, self._failed = file, enough, {}, {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leaves the named tests."""
        if self._order is not None:
            items[:] = sorted((item for item in items if item.nodeid in self._order),
                              key=lambda item: self._order[item.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Measures a test, with the programs that it starts: on a busy machine a clock on the wall tells nothing."""
        begin = sum(os.times()[:4])
        try:
            return (yield)
        finally:
            self._seconds[item.nodeid] = round(sum(os.times()[:4]) - begin, 3)
            item.session.shouldstop = sum(self._seconds.values()) > self._enough and 'enough'

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes what has failed."""
        if report.failed:
            self._failed[report.nodeid] = report.longreprtext[-300:]

    def pytest_sessionfinish(self) -> None:
        """Writes the notes."""
        passed = {name: seconds for name, seconds in self._seconds.items() if name not in self._failed}
        self._file.write_text(json.dumps(dict(failed=self._failed, seconds=passed)), encoding='utf-8')


def import_libraries(root: Path) -> None:
    """Imports what takes long, after the package's repairs of mmseg, which cannot be imported without."""
    spec = importlib.util.spec_from_file_location('mmseg_cicld.compat', root / 'mmseg_cicld' / 'compat.py')
    compat = sys.modules['mmseg_cicld.compat'] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compat)
    compat.apply()
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def run_tests(folder: Path, test_file: str, names: Sequence[str] | None, limit: float, marker: str | None = None,
              first: bool = True, enough: float = math.inf, environment: Mapping[str, str] = {}) -> TestRun:
    """Runs tests of a file in a fork.

    Args:
        folder: The copy of the project.
        test_file: The file, relative to it.
        names: Its tests in the order to run them; None for all.
        limit: Seconds of processor time, or twenty times as many by the clock, after which the outcome is ``timeout``.
        marker: pytest's ``-m``.
        first: Whether to stop at the first test that fails.
        enough: Seconds of processor time after which no other test begins.
        environment: Variables for the tests and the programs that they start.
    """
    with tempfile.TemporaryDirectory() as notes:
        file = Path(notes, 'notes.json')
        child = os.fork()
        if not child:
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), math.ceil(limit) + 9))
            options = ['-q', '-p', 'no:cacheprovider', test_file, *(['-x'] if first else []), *(['-m', marker] if marker else [])]
            os._exit(_in_fork(folder, options, Selection(names, file, enough), environment))
        code = _wait(child, SLOWEST * limit)
        if code in (None, -signal.SIGXCPU):
            return TestRun('timeout')
        outcome = {0: 'survived', 5: 'untested'}.get(code, 'killed')
        return TestRun(outcome, **json.loads(file.read_text())) if file.is_file() else TestRun(outcome)


def _in_fork(folder: Path, options: list[str], selection: Selection, environment: Mapping[str, str]) -> int:
    try:
        os.setsid()
        for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
            os.dup2(os.open(os.devnull, flags), descriptor)
        sys.stdout = sys.stderr = open(os.devnull, 'w', encoding='utf-8')  # noqa: SIM115
        os.chdir(folder)
        # Bytecode of one state is never found by the next, whose file may have the same size and second.
        os.environ.update(environment, PYTHONPATH=str(folder), OMP_NUM_THREADS='1', PYTHONDONTWRITEBYTECODE='1')
        sys.path[0], sys.dont_write_bytecode = str(folder), True
        if environment:
            line_tracing.start()
        return int(pytest.main(options, plugins=[selection]))
    except BaseException:  # a fork must not go on with what its parent does
        return 1


def _wait(child: int, limit: float) -> int | None:
    end, code = time.monotonic() + limit, None
    while code is None and time.monotonic() < end:
        time.sleep(0.02)
        done, status = os.waitpid(child, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if done else None
    with contextlib.suppress(ProcessLookupError):  # with the programs that the tests have started
        os.killpg(child, signal.SIGKILL)
    if code is None:
        os.waitpid(child, 0)
    return code
