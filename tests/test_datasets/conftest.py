"""Pipelines are built in mmseg's registry scope, as a config's default_scope asks for; tools run in this process."""
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mmseg.utils import register_all_modules

register_all_modules()
TOOLS = Path(__file__).parents[2] / 'tools' / 'dataset_converters'


@pytest.fixture
def run(monkeypatch) -> Callable:
    """Runs a tool of tools/dataset_converters with arguments; gives its exit status or message."""
    def call(name: str, *args: object, nproc: int = 1) -> object:
        spec = importlib.util.spec_from_file_location(f'converter_{name}', TOOLS / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, 'argv', [name, *map(str, args), '--nproc', str(nproc)])
        try:
            module.main()
        except SystemExit as end:
            return end.code
        return 0
    return call
