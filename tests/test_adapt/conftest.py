"""A tiny adaptation that has run to its end."""
from pathlib import Path

import pytest
from adapt_case import ITERATIONS, Finished, describe, run, write_data
from mmseg.utils import register_all_modules

from mmseg_cicld.adapt.options import Options

register_all_modules()


@pytest.fixture(scope='session')
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A finished run with labelled target images."""
    root = write_data(tmp_path_factory.mktemp('adapt'))
    data = describe(root)
    options = Options(root / 'work', 'dacs', iterations=ITERATIONS)
    summary, printed = run(options, data)
    return Finished(root, data, options, printed, summary)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Folder with tiny data."""
    return write_data(tmp_path)
