"""What all tests share: the helpers beside this file, registered modules, and repeatable arithmetic."""
import gc
import sys
from collections import Counter
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


# Files of minutes, the longest first: begun last, they would run when the other processes have nothing left to do.
LONGEST = ('test_readme.py', 'test_tools/test_train_test_tools.py', 'test_packaging/test_onedl_stack.py', 'test_configs.py',
           'test_tools/test_train_stages.py', 'test_quickstart.py', 'test_adapt/test_adaptation.py',
           'test_packaging/test_installation.py', 'test_tools/test_compare_methods.py', 'test_uda/test_golden_losses.py',
           'test_uda/test_parity_adversarial.py', 'test_packaging/test_compat.py', 'test_engine/test_onnx_export.py',
           'test_engine/test_whole_method.py')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, then those with the most tests."""
    rank = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (rank.get(item.path, len(rank)), -tests[item.path]))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is imported by now stays: garbage collection, a tenth of the suite's time, need not look through it again."""
    gc.collect()
    gc.freeze()
