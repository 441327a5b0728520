"""Changes of a config that contradict each other."""
import pytest
from mmengine.config import Config

from mmseg_cicld.config_keys import check_contradictions


@pytest.mark.parametrize('options', [
    {'a': [1, 2], 'a.0': 3},
    {'a.b': None, 'a.b.c.d': 3},
    {'a.b': 1, 'a': dict(b=2)},  # the later one takes the earlier one away
])
def test_a_change_inside_of_what_is_replaced_is_refused(options):
    outer, inner = sorted(options, key=len)
    with pytest.raises(ValueError, match=f'{outer} is replaced and {inner}, inside of it, is changed'):
        check_contradictions(options)


@pytest.mark.parametrize('options, changed', [
    ({'a.b': 1, 'a.c': 2, 'ab': 3, 'a.bc': 4}, dict(a=dict(b=1, c=2, bc=4), ab=3)),
    ({'a.b': dict(type='New'), 'a.b.c': 2}, dict(a=dict(b=dict(type='New', c=2)))),
])
def test_changes_that_pass_all_arrive(options, changed):
    config = Config()
    check_contradictions(options)
    config.merge_from_dict(options)
    assert config.to_dict() == changed
