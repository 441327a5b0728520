"""Networks are built in mmseg's registry scope, as a config's default_scope asks for."""
import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def mmseg_scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield
