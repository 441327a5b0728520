"""Changes of code, which tests belong to a module, and what becomes of a change."""
import os
import sys

import pytest
from shell_commands import ROOT

sys.path.insert(0, str(ROOT / 'tools/analysis_tools'))

import module_tests
import mutation_test as mutation
from mutants import find_mutants, statement_lines
from tests_by_line import TestsByLine as ByLine

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
    assert module_tests.tests_of('mmseg_cicld/random_streams.py')[0] == 'tests/test_random_streams.py'
    assert module_tests.tests_of('mmseg_cicld/models/losses/mmd.py')[0] == 'tests/test_models/test_mmd.py'
    assert 'tests/test_engine/test_runner.py' in module_tests.tests_of('mmseg_cicld/engine/checkpoint_hook.py')
    for file, tests in module_tests.TESTED_BY.items():
        assert module_tests.tests_of(file)[0] == tests and (ROOT / tests).is_file()


RATE = """BASE = 2


def rate(step):
    if step > 3:
        return step * 0.5
    return (step +
            BASE)
"""
TESTS = """import subprocess
import sys

import pytest

from mmseg_cicld.rate import rate


def test_low():
    assert rate(0) == 2


def test_high():
    CHECK


def test_program():
    code = 'from mmseg_cicld.rate import rate; assert rate(6)'
    subprocess.run([sys.executable, '-c', code], check=True)
"""
HIGH, LOW, PROGRAM = (f'tests/test_rate.py::test_{name}' for name in ('high', 'low', 'program'))
forks = pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs a system that can fork')


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of one module; the real package is out of the way of the forks that test it."""
    for name in [name for name in sys.modules if name.startswith('mmseg_cicld')]:
        monkeypatch.delitem(sys.modules, name)
    options = '[pytest]\naddopts = -m "not float64"\nmarkers = float64'
    for name, text in {'mmseg_cicld/__init__.py': '', 'mmseg_cicld/rate.py': RATE, 'tests/test_rate.py': TESTS,
                       'pytest.ini': options}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def judged(project, check, before, twins=None):
    (project / 'tests/test_rate.py').write_text(TESTS.replace('CHECK', check))
    mutant = next(mutant for mutant in find_mutants('mmseg_cicld/rate.py', RATE) if mutant.before == before)
    judge = mutation.Judge(project, ByLine(project, project / 'kept', 60), timeout=2, budget=60, twins=twins)
    result = judge(mutant, ['tests/test_rate.py'])
    assert (project / 'mmseg_cicld/rate.py').read_text() == RATE
    return result


@forks
@pytest.mark.parametrize(('check', 'outcome'), [('assert rate(4) == 2', 'killed'), ('assert rate(4)', 'survived'),
                                                ('while rate(4) != 2: pass', 'timeout')])
def test_a_change_is_noticed_or_not_and_taken_back(check, outcome, project):
    result = judged(project, check, '0.5')
    assert result['outcome'] == outcome and list(result['failed']) == ([HIGH] if outcome == 'killed' else [])


@forks
def test_a_change_that_twins_alone_notice(project):
    twins = 'assert rate(4)\n\n\n@pytest.mark.float64\ndef test_sharp():\n    assert rate(4) == 2'
    result = judged(project, twins, '0.5', twins=('high', 'sharp'))
    assert result['outcome'] == 'twin' and list(result['failed']) == ['tests/test_rate.py::test_sharp']


@forks
def test_a_change_that_is_seen_at_import_is_noticed_by_any_test(project):
    assert list(judged(project, 'assert rate(4) == 2', '2')['failed']) == [LOW]


@forks
def test_tests_that_run_a_line_are_found_in_other_programs_too_and_kept(project):
    (project / 'tests/test_rate.py').write_text(TESTS.replace('CHECK', 'assert rate(4) == 2'))
    for _ in range(2):
        tests = ByLine(project, project / 'kept', 60)
        assert [set(tests.running('tests/test_rate.py', 'mmseg_cicld/rate.py', [line])) for line in (1, 6, 7, 9)] == [
            {HIGH, LOW, PROGRAM}, {HIGH, PROGRAM}, {LOW}, set()]
        record, = (project / 'kept').iterdir()
        (project / 'mmseg_cicld/other.py').touch()  # empty: the package is as it was


@forks
def test_lines_are_found_while_a_test_may_not_write_files(project):
    limited = '''import resource
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    assert rate(4) == 2
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert rate(1) == 3'''
    (project / 'tests/test_rate.py').write_text(TESTS.replace('CHECK', limited))
    tests = ByLine(project, project / 'kept', 60)
    assert set(tests.running('tests/test_rate.py', 'mmseg_cicld/rate.py', [6])) == {HIGH, PROGRAM}


def test_lines_of_the_statement_around_a_line():
    assert [[*statement_lines(RATE, line)] for line in (1, 5, 6, 7, 8)] == [[1], [5], [6], [7, 8], [7, 8]]


def test_the_table_leaves_out_of_the_share_what_changes_nothing():
    outcomes = ('killed', 'killed', 'timeout', 'survived', 'equivalent')
    rows = [dict(file='a.py', line=1, before='x', after='y', outcome=outcome) for outcome in outcomes]
    report = mutation.table(rows)
    assert '| all | 2 | 1 | 1 | 1 | 0 | 0 | 75 % |' in report and report.count('a.py:1') == 1
