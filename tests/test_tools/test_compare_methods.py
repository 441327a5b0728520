"""tools/analysis_tools/compare_methods.py: rows by seeds, to a table."""
import os
import sys
from pathlib import Path

import preloaded_python
import pytest
from shell_commands import ROOT, preloaded_environment, run

sys.path.insert(0, str(ROOT / 'tests/test_engine'))

from toy_training import toy_config

from mmseg_cicld.engine import read_checkpoint
from mmseg_cicld.engine.comparison_folder import folder_of, read_result

ROWS = """
metric = 'mIoU'
seeds = [4]
options = {'train_cfg.val_interval': 2}
rows = [
    dict(name='first', config='toy.py'),
    dict(name='second', config='toy.py', begin_with='first', options={'optim_wrapper.optimizer.lr': 0.0}),
]
"""


def run_tool(root: Path, *more: str, code: int = 0, python: str | None = None) -> str:
    path = os.pathsep.join([str(ROOT / 'tests/test_engine'), str(ROOT)])
    command = [python or preloaded_python.python(), '-W', 'ignore', ROOT / 'tools/analysis_tools/compare_methods.py',
               'rows.py', '--work-dir', 'trainings', *more]
    done = run(command, cwd=root, env=preloaded_environment(PYTHONPATH=path), code=code)
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path) -> Path:
    config = toy_config(str(tmp_path), max_iters=2, save_interval=2, val_interval=2)
    config.custom_imports = dict(imports=['mmseg_cicld', 'toy_training'], allow_failed_imports=False)
    config.pop('work_dir')
    config.dump(str(tmp_path / 'toy.py'))
    (tmp_path / 'rows.py').write_text(ROWS)
    return tmp_path


def test_rows_train_and_are_not_trained_again(folder):
    printed = run_tool(folder, '--workers', '2')
    assert (folder / 'trainings/table.md').read_text().strip() in printed
    assert '| first | ' in printed and '| second | ' in printed
    trainings = folder / 'trainings'
    ended = [read_checkpoint(folder_of(trainings, name, 4) / 'iter_2.pth')['state_dict']
             for name in ('first', 'second')]
    # Without a learning rate the second row keeps the weights that it began with.
    assert all(ended[1][name].equal(value) for name, value in ended[0].items()
               if name.startswith('student.') and name.endswith('conv_seg.weight'))
    before = {file: file.stat().st_mtime_ns for file in trainings.rglob('iter_2.pth')}
    assert run_tool(folder, '--rows', 'second').endswith(printed[printed.index('|  | seed 4'):])
    assert before == {file: file.stat().st_mtime_ns for file in trainings.rglob('iter_2.pth')} and len(before) == 2
    (folder / 'rows.py').write_text(ROWS.replace("lr': 0.0", "lr': 0.1"))
    printed = run_tool(folder, code=1)
    assert 'second/seed_4 was trained with other settings (config.optim_wrapper.optimizer.lr)' in printed
    assert '| second | - | - | - |' in (folder / 'trainings/table.md').read_text()
    run_tool(folder, '--rows', 'first')  # which nothing keeps from being trained or shown
    (folder / 'rows.py').write_text(ROWS + "options = {'custom_hooks': []}\n")
    printed = run_tool(folder, '--table', code=1)
    assert printed.count('error: ') == 1 and 'first/seed_4 was' in printed and '; 1 more of trainings likewise' in printed
    assert before == {file: file.stat().st_mtime_ns for file in trainings.rglob('iter_2.pth')}


def test_a_training_that_fails_is_named_and_the_rest_runs(folder):
    (folder / 'rows.py').write_text(ROWS.replace("'optim_wrapper.optimizer.lr': 0.0", "'model.type': 'NoSuchModel'"))
    printed = run_tool(folder, '--seeds', '0', code=1)
    assert 'error: trainings/second/seed_0: the training ended with code 1' in printed and 'console.log' in printed
    assert read_result(folder_of(folder / 'trainings', 'first', 0)) is not None


def test_a_row_evaluates_the_weights_of_another(folder):
    other = ROWS + """rows[1:] = [
    dict(name='same', config='toy.py', evaluates='first'),
    dict(name='other head', config='toy.py', evaluates='first', options={'model.evaluate': 'teacher'}),
]
"""
    (folder / 'rows.py').write_text(other)
    run_tool(folder, '--rows', 'same', 'other head')
    trainings = folder / 'trainings'
    found = {name: read_result(folder_of(trainings, name, 4))['value'] for name in ('first', 'same', 'other head')}
    assert found['same'] == found['first'] != found['other head']
    assert not list(folder_of(trainings, 'same', 4).glob('*.pth'))


def test_unknown_rows(folder):
    assert "--rows has 'third', the file has ['first', 'second']" in run_tool(
        folder, '--rows', 'third', code=1, python=sys.executable)
