"""Changes of code, which tests belong to a module, and what becomes of a change."""
import sys

import pytest
from shell_commands import ROOT

sys.path.insert(0, str(ROOT / 'tools/analysis_tools'))

import mutation_test as mutation
from mutants import find_mutants

SOURCE = '''"""Doc 1."""
import math  # 2

__all__ = ['rate']


def rate(step: int, last: int = 3) -> float:
    """Text of 4."""
    if step >= last and step:
        raise ValueError(f'{step + 1} is more than {last}')
    é = -step * 0.5
    return math.cos(é).mean().detach()
'''
EXPECTED = {
    ('(not (step >= last and step))', 'condition'), ('(step >= last or step)', 'logic'), ('(step > last)', 'comparison'),
    ('(-step / 0.5)', 'arithmetic'), ('(step)', 'sign'), ('1.5', 'constant'), ('return None', 'result'),
    ('math.cos(é).mean()', 'method'), ('math.cos(é)', 'method')}


def test_every_kind_of_change_is_made_and_what_no_test_sees_is_left_alone():
    mutants = find_mutants('module.py', SOURCE)
    assert {(mutant.after, mutant.operator) for mutant in mutants} == EXPECTED
    assert {mutant.function for mutant in mutants} == {'rate'}


def test_a_change_replaces_its_text_alone():
    for mutant in find_mutants('module.py', SOURCE):
        before, after = SOURCE.splitlines(), mutant.applied(SOURCE).splitlines()
        changed = [index + 1 for index, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
        assert changed == [mutant.line] and mutant.after in after[mutant.line - 1]


def test_keys_stay_when_other_lines_move():
    keys = [mutant.key for mutant in find_mutants('module.py', SOURCE)]
    moved = [mutant.key for mutant in find_mutants('module.py', SOURCE.replace('import math', '\n\nimport math'))]
    assert keys == moved and len(set(keys)) == len(keys)


def test_samples_are_repeatable_and_of_the_files_that_are_asked_for():
    first, again, other = (mutation.sample(['mmseg_cicld/random_streams.py'], 5, seed) for seed in (0, 0, 1))
    assert first == again != other and {mutant.file for mutant in first} == {'mmseg_cicld/random_streams.py'}
    with pytest.raises(SystemExit, match='no Python file in mmseg_cicld/nowhere'):
        mutation.sample(['mmseg_cicld/nowhere'], 5, 0)


def test_tests_of_a_module_are_those_of_its_name_first_then_of_its_users():
    assert mutation.tests_of('mmseg_cicld/random_streams.py')[0] == 'tests/test_random_streams.py'
    assert mutation.tests_of('mmseg_cicld/models/losses/mmd.py')[0] == 'tests/test_models/test_mmd.py'
    assert 'tests/test_engine/test_runner.py' in mutation.tests_of('mmseg_cicld/engine/checkpoint_hook.py')
    for file, tests in mutation.TESTED_BY.items():
        assert mutation.tests_of(file)[0] == tests and (ROOT / tests).is_file()


@pytest.mark.parametrize(('check', 'outcome'), [('assert rate(4) == 2', 'killed'), ('assert rate(0) == 0', 'survived'),
                                                ('while rate(4) != 2: pass', 'timeout')])
def test_a_change_is_noticed_or_not_and_taken_back(check, outcome, tmp_path):
    source = 'def rate(step):\n    return step * 0.5\n'
    (tmp_path / 'module.py').write_text(source)
    (tmp_path / 'test_rate.py').write_text(f'from module import rate\n\n\ndef test_rate():\n    {check}\n')
    mutant = next(mutant for mutant in find_mutants('module.py', source) if mutant.operator == 'constant')
    result = mutation.judge(mutant, tmp_path, ['test_rate.py'], marker=None, timeout=5)
    assert result['outcome'] == outcome and (tmp_path / 'module.py').read_text() == source


def test_the_table_leaves_out_of_the_share_what_changes_nothing():
    outcomes = ('killed', 'killed', 'timeout', 'survived', 'equivalent')
    rows = [dict(file='a.py', line=1, before='x', after='y', outcome=outcome) for outcome in outcomes]
    report = mutation.table(rows)
    assert '| all | 2 | 1 | 1 | 1 | 0 | 75 % |' in report and report.count('a.py:1') == 1
