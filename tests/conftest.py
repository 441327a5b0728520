"""What all tests share: the helpers beside this file, registered modules, and repeatable arithmetic."""
import gc
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import mmseg_cicld  # noqa: F401

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True, warn_only=True)


class FailuresAtOnce:
    """Prints what fails when it fails: a run that is stopped from outside never comes to its summary."""

    def __init__(self, config: pytest.Config) -> None:
        self._terminal = config.pluginmanager.get_plugin('terminalreporter')

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._terminal.write_line(f'\n{report.when} of {report.nodeid} failed:\n{report.longreprtext[-1500:]}')


@pytest.hookimpl(trylast=True)  # after the terminal is there
def pytest_configure(config: pytest.Config) -> None:
    """The processes of pytest-xdist have no terminal; what they report is printed by the one that started them."""
    if config.pluginmanager.has_plugin('terminalreporter') and not hasattr(config, 'workerinput'):
        config.pluginmanager.register(FailuresAtOnce(config))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is imported by now stays: garbage collection, a tenth of the suite's time, need not look through it again."""
    gc.collect()
    gc.freeze()
