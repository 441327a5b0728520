"""Comparison files, their configs and their tables."""
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_cicld.engine import CheckpointError, write_checkpoint
from mmseg_cicld.engine.comparison import Comparison, Row, paired_interval, table, training_config
from mmseg_cicld.engine.comparison_folder import (ComparisonError, check_settings, final_metric, folder_of, held,
                                                  write_result, write_settings)

ROOT = Path(__file__).parents[2]
FILES = sorted(file for file in (ROOT / 'configs/street/comparisons').glob('*.py') if 'rows = [' in file.read_text())


def read(tmp_path: Path, text: str, **kwargs) -> Comparison:
    file = tmp_path / 'rows.py'
    file.write_text(text)
    return Comparison.from_file(file, **kwargs)


def finish(comparison: Comparison, work_dir: Path, name: str, seed: int, value: float, seconds: float | None) -> None:
    """Leaves what a finished training leaves."""
    folder = folder_of(work_dir, name, seed)
    write_settings(folder, comparison.settings[name])
    write_result(folder, value, seconds)


def test_options_of_a_row_stand_over_those_of_all(tmp_path):
    read_rows = read(tmp_path, "options = {'a.b': 1, 'c': 2}\nseeds = [5, 6]\nrows = ["
                               "dict(name='x', config='x.py', options={'c': 3}), dict(name='y', config='y.py')]")
    assert [dict(row.options) for row in read_rows.rows] == [{'a.b': 1, 'c': 3}, {'a.b': 1, 'c': 2}]
    assert list(read_rows.seeds) == [5, 6] and read_rows.metric == 'mIoU'
    assert list(read(tmp_path, (tmp_path / 'rows.py').read_text(), seeds=[9]).seeds) == [9]


@pytest.mark.parametrize('text, message', [
    ('seeds = [0]', 'at least one row'),
    ("rows = [dict(name='x', config='x.py'), dict(name='x', config='y.py')]", 'another name'),
    ("rows = [dict(name='x y', config='x.py'), dict(name='x_y', config='y.py')]", 'another name'),
    ("rows = [dict(name='x', config='x.py', option={})]", "'option'"),
    ("rows = [dict(name='x', config='x.py', begin_with='y'), dict(name='y', config='y.py')]",
     'none of the rows before'),
    ("rows = [dict(name='x', config='x.py', evaluates='y'), dict(name='y', config='y.py')]", "'x' evaluates 'y'"),
    ("rows = [dict(name='y', config='y.py'), dict(name='x', config='x.py', begin_with='y', evaluates='y')]", 'one of them'),
    ("rows = [dict(name='x', config='x.py', hand_over={'teacher.': 'student.'})]", 'set begin_with, or remove hand_over'),
    ("rows = [dict(name='y', config='y.py'), dict(name='x', config='x.py', evaluates='y'), "
     "dict(name='z', config='y.py', begin_with='x')]", 'row that is trained'),
    ("reference = 'z'\nrows = [dict(name='x', config='x.py')]", "reference='z' is none of the rows .'x'."),
])
def test_files_that_are_wrong(tmp_path, text, message):
    with pytest.raises(ComparisonError, match=message):
        read(tmp_path, text)


def test_a_row_begins_with_the_weights_of_another(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text("hand_over = {'teacher.network.': 'student.'}\nrandomness = dict(seed=0)\nmodel = dict(a=1)")
    row = Row('second', str(config), {'model.a': 2}, begin_with='first')
    before, folder = tmp_path / 'before', tmp_path / 'after'
    with pytest.raises(CheckpointError, match="no checkpoint for the row 'second'"):
        training_config(row, 3, folder, before)
    weights = {'student.w': torch.zeros(1), 'teacher.network.w': torch.ones(1)}
    write_checkpoint(dict(state_dict=weights), before / 'iter_1.pth')
    made = training_config(row, 3, folder, before)
    assert (made.model.a, made.randomness.seed, made.work_dir) == (2, 3, str(folder)) and 'hand_over' not in made
    assert torch.load(made.load_from, weights_only=True)['state_dict'] == {'student.w': torch.ones(1)}


def test_an_evaluation_takes_the_checkpoint_and_the_validation_data(tmp_path):
    (tmp_path / 'config.py').write_text('randomness = dict(seed=0)\nval_dataloader = dict(b=7)\n'
                                        'val_evaluator = dict(a=1)')
    write_checkpoint(dict(state_dict={'student.w': torch.zeros(1)}), tmp_path / 'before/iter_1.pth')
    row = Row('second', str(tmp_path / 'config.py'), evaluates='first')
    made = training_config(row, 3, tmp_path / 'after', tmp_path / 'before')
    assert made.load_from == str(tmp_path / 'before/iter_1.pth') and not (tmp_path / 'after').exists()
    assert (made.test_dataloader, made.test_evaluator) == (made.val_dataloader, made.val_evaluator)
    (tmp_path / 'config.py').write_text('randomness = dict(seed=0)')
    with pytest.raises(ComparisonError, match="'second'.*no val_dataloader"):
        training_config(row, 3, tmp_path / 'after', tmp_path / 'before')


def test_a_row_that_would_begin_with_nothing_is_named(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text('randomness = dict(seed=0)')
    write_checkpoint(dict(state_dict={'student.w': torch.zeros(1)}), tmp_path / 'before/iter_1.pth')
    row = Row('second', str(config), begin_with='first', hand_over={'teacher.': 'student.'})
    with pytest.raises(CheckpointError, match="no weights that begin with .'teacher.'"):
        training_config(row, 3, tmp_path / 'after', tmp_path / 'before')


def test_table_has_mean_and_sample_deviation(tmp_path):
    (tmp_path / 'a.py').write_text('width = 1')
    rows = [Row(name, str(tmp_path / 'a.py')) for name in ('a, b', 'c')]
    comparison = Comparison(rows, seeds=(0, 1, 2))
    for seed, value in enumerate((30.0, 32.0, 37.0)):
        finish(comparison, tmp_path, 'a, b', seed, value, 60 + seed)
    finish(comparison, tmp_path, 'c', 1, 12.34, 5.4)
    finish(comparison, tmp_path, 'c', 2, 14.34, None)  # it was stopped, so its time is not known
    assert table(comparison, tmp_path).splitlines() == [
        '|  | seed 0 | seed 1 | seed 2 | mean ± deviation | seconds |', '|---|---|---|---|---|---|',
        '| a, b | 30.0 | 32.0 | 37.0 | 33.0 ± 3.6 | 61 |', '| c | - | 12.3 | 14.3 | 13.3 ± 1.4 | 5 |']


def changed(rows: list[Row], index: int, **change: object) -> Comparison:
    return Comparison([dataclasses.replace(row, **change) if place == index else row for place, row in enumerate(rows)])


def test_results_of_other_settings_are_refused(tmp_path):
    (tmp_path / 'a.py').write_text('model = dict(layers=[dict(width=1)], depth=2)')
    rows = [Row('first', str(tmp_path / 'a.py')), Row('second', str(tmp_path / 'a.py'), begin_with='first')]
    comparison, folder = Comparison(rows), folder_of(tmp_path, 'second', 0)
    check_settings(folder, comparison.settings['second'])
    write_settings(folder, {})
    check_settings(folder, comparison.settings['second'])  # nothing was trained with the others
    finish(comparison, tmp_path, 'second', 0, 5.0, 1.0)
    check_settings(folder, Comparison(rows).settings['second'])
    wider = {'model.layers.0.width': 3}
    for other, key in [
        (changed(rows, 1, options=wider), r'\(config.model.layers.0.width\)'),
        (changed(rows, 0, options=wider), r'\(begin_with.settings.config.model.layers.0.width\)'),
        (changed(rows, 1, hand_over={'teacher.': 'student.'}), 'begin_with.hand_over'),
        (dataclasses.replace(comparison, metric='mAcc'), 'metric'),
    ]:
        with pytest.raises(ComparisonError, match=f'seed_0 was trained with other settings .*{key}'):
            check_settings(folder, other.settings['second'])
        assert table(other, tmp_path).splitlines()[-1] == '| second | - | - | - | - | - |'
    assert table(comparison, tmp_path).splitlines()[-1] == '| second | 5.0 | - | - | 5.0 | 1 |'


def test_checkpoints_of_other_settings_are_refused(tmp_path):
    (tmp_path / 'a.py').write_text('width = 1')
    settings = Comparison([Row('a', str(tmp_path / 'a.py'))]).settings['a']
    write_checkpoint({}, tmp_path / 'iter_5.pth')
    with pytest.raises(ComparisonError, match='other settings'):
        check_settings(tmp_path, settings)
    write_settings(tmp_path, settings)
    check_settings(tmp_path, settings)


def test_configs_that_are_not_there_are_named(tmp_path):
    with pytest.raises(ComparisonError, match="the row 'a' with .*missing.py"):
        _ = Comparison([Row('a', str(tmp_path / 'missing.py'))]).settings


def test_options_of_a_row_that_contradict_are_refused(tmp_path):
    (tmp_path / 'a.py').write_text('a = [1]\n')
    with pytest.raises(ComparisonError, match="the row 'x' with .*: a is replaced and a.0, inside of it, is changed"):
        _ = Comparison([Row('x', str(tmp_path / 'a.py'), {'a': [2], 'a.0': 3})]).settings


def test_a_folder_is_held_as_long_as_its_training_runs(tmp_path):
    script = ('import sys, time\nfrom mmseg_cicld.engine.folder_lock import locked_folder\n'
              'with locked_folder(sys.argv[1]): print(flush=True); time.sleep(600)')
    with held(tmp_path):
        child = subprocess.Popen([sys.executable, '-c', script, tmp_path], stdout=subprocess.PIPE)
        child.stdout.readline()
        with pytest.raises(ComparisonError, match='another launch'), held(tmp_path):
            pass
    with pytest.raises(ComparisonError, match=f'held by process {child.pid} .* a killed one has left'), held(tmp_path):
        pass
    child.kill()
    child.wait()
    with held(tmp_path):
        pass


def test_the_metric_is_that_of_the_last_iteration(tmp_path):
    assert final_metric(tmp_path, 'mIoU', 8) is None
    for name, lines in dict(a='{"loss": 1, "step": 5}\n{"mIoU": 20.0, "step": 4}\n',
                            c='{"loss": 3, "step": 9}\n').items():
        (tmp_path / name / 'vis_data').mkdir(parents=True)
        (tmp_path / name / 'vis_data/scalars.json').write_text(lines)
    assert final_metric(tmp_path, 'mIoU', 8) is None
    (tmp_path / 'b/vis_data').mkdir(parents=True)
    (tmp_path / 'b/vis_data/scalars.json').write_text('{"mIoU": 25.0, "step": 8}\n{"mIoU": 2')  # killed as it wrote
    assert final_metric(tmp_path, 'mIoU', 8) == 25.0


@pytest.fixture(scope='module')
def built() -> set[str]:
    """Models of the rows that were built already: many files have the same ones."""
    return set()


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.stem)
def test_every_row_of_a_comparison_builds(file, tmp_path, monkeypatch, built):
    monkeypatch.chdir(ROOT)
    init_default_scope('mmseg')
    for row in Comparison.from_file(file).rows:
        config = training_config(row, 0, tmp_path, None)
        if (model := str(config.model)) not in built:
            assert MODELS.build(config.model) is not None, row.name
            built.add(model)
        assert config.train_cfg.max_iters == config.param_scheduler[-1].end, row.name


def test_paired_interval_is_that_of_students_t():
    """Differences 1, 2 and 6: mean 3, deviation sqrt(7), and 4.3027 is the 97.5 % quantile of t with 2 degrees of freedom."""
    half = 4.302652729911275 * (7 / 3)**0.5
    assert paired_interval([41, 52, 66], [40, 50, 60]) == pytest.approx((3, 3 - half, 3 + half))


def test_the_table_has_the_paired_differences_to_the_reference(tmp_path):
    (tmp_path / 'config.py').write_text('model = dict(a=1)')
    rows = ', '.join(f"dict(name='{name}', config='{tmp_path}/config.py')" for name in ('plain', 'more', 'begun'))
    comparison = read(tmp_path, f"seeds = [0, 1, 2]\nreference = 'plain'\nrows = [{rows}]")
    for name, values in dict(plain=(40, 50, 60), more=(41, 52, 66), begun=(42, )).items():
        for seed, value in enumerate(values):
            finish(comparison, tmp_path, name, seed, value, 1.0)
    head, _, plain, more, begun = table(comparison, tmp_path).splitlines()
    assert head.endswith('| seconds | minus plain |') and plain.endswith('| 1 |  |')
    assert more.endswith('| +3.00 [-3.57, +9.57] |') and begun.endswith('| 1 | - |')
