"""Comparison files, their configs and their tables."""
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_cicld.engine import CheckpointError, write_checkpoint
from mmseg_cicld.engine.comparison import (Comparison, ComparisonError, Row, folder_of, last_metric, table,
                                           training_config, write_result)

ROOT = Path(__file__).parents[2]
FILES = sorted(file for file in (ROOT / 'configs/street/comparisons').glob('*.py') if 'rows = [' in file.read_text())


def read(tmp_path: Path, text: str, **kwargs) -> Comparison:
    file = tmp_path / 'rows.py'
    file.write_text(text)
    return Comparison.from_file(file, **kwargs)


def test_options_of_a_row_stand_over_those_of_all(tmp_path):
    read_rows = read(tmp_path, "options = {'a.b': 1, 'c': 2}\nseeds = [5, 6]\n"
                               "rows = [dict(name='x', config='x.py', options={'c': 3}), dict(name='y', config='y.py')]")
    assert [dict(row.options) for row in read_rows.rows] == [{'a.b': 1, 'c': 3}, {'a.b': 1, 'c': 2}]
    assert list(read_rows.seeds) == [5, 6] and read_rows.metric == 'mIoU'
    assert list(read(tmp_path, (tmp_path / 'rows.py').read_text(), seeds=[9]).seeds) == [9]


@pytest.mark.parametrize('text, message', [
    ('seeds = [0]', 'at least one row'),
    ("rows = [dict(name='x', config='x.py'), dict(name='x', config='y.py')]", 'another name'),
    ("rows = [dict(name='x', config='x.py', option={})]", "'option'"),
    ("rows = [dict(name='x', config='x.py', begin_with='y'), dict(name='y', config='y.py')]", 'none of the rows before'),
])
def test_files_that_are_wrong(tmp_path, text, message):
    with pytest.raises(ComparisonError, match=message):
        read(tmp_path, text)


def test_a_row_begins_with_the_weights_of_another(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text("hand_over = {'teacher.network.': 'student.'}\nrandomness = dict(seed=0)\nmodel = dict(a=1)")
    row = Row('second', str(config), {'model.a': 2}, begin_with='first')
    before, folder = tmp_path / 'before', tmp_path / 'after'
    with pytest.raises(CheckpointError, match="'second' should begin"):
        training_config(row, 3, folder, before)
    weights = {'student.w': torch.zeros(1), 'teacher.network.w': torch.ones(1)}
    write_checkpoint(dict(state_dict=weights), before / 'iter_1.pth')
    made = training_config(row, 3, folder, before)
    assert (made.model.a, made.randomness.seed, made.work_dir) == (2, 3, str(folder)) and 'hand_over' not in made
    assert torch.load(made.load_from, weights_only=True)['state_dict'] == {'student.w': torch.ones(1)}


def test_table_has_mean_and_sample_deviation(tmp_path):
    rows = [Row('a, b', 'a.py'), Row('hidden', 'b.py', show=False), Row('c', 'c.py')]
    comparison = Comparison(rows, seeds=(0, 1, 2))
    for seed, value in enumerate((30.0, 32.0, 37.0)):
        write_result(folder_of(tmp_path, 'a, b', seed), value, seconds=60 + seed)
    write_result(folder_of(tmp_path, 'c', 1), 12.34, seconds=5.4)
    assert table(comparison, tmp_path).splitlines() == [
        '|  | seed 0 | seed 1 | seed 2 | mean ± deviation | seconds |', '|---|---|---|---|---|---|',
        '| a, b | 30.0 | 32.0 | 37.0 | 33.0 ± 3.6 | 61 |', '| c | - | 12.3 | - | 12.3 | 5 |']


def test_newest_metric_of_a_training_that_was_continued(tmp_path):
    assert last_metric(tmp_path, 'mIoU') is None
    for name, lines in dict(a='{"loss": 1, "step": 5}\n{"mIoU": 20.0, "step": 4}\n', b='{"mIoU": 25.0, "step": 8}\n',
                            c='{"loss": 3, "step": 9}\n').items():
        (tmp_path / name / 'vis_data').mkdir(parents=True)
        (tmp_path / name / 'vis_data/scalars.json').write_text(lines)
    assert last_metric(tmp_path, 'mIoU') == 25.0


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.stem)
def test_every_row_of_a_comparison_builds(file, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    init_default_scope('mmseg')
    for row in Comparison.from_file(file).rows:
        config = training_config(row, 0, tmp_path, None)
        assert MODELS.build(config.model) is not None, row.name
        assert config.train_cfg.max_iters == config.param_scheduler[-1].end, row.name
