"""Networks are built in mmseg's registry scope where a test asks for it, as a config's default_scope does."""
import pytest
from mmengine.registry import DefaultScope


@pytest.fixture
def mmseg_scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield
