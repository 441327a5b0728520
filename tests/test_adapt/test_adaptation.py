"""tools/adapt.py trains, adapts, evaluates and exports; the same command goes on; its configs do the same."""
import json
import signal
import sys
from pathlib import Path

import preloaded_python
import pytest
import torch
from adapt_case import ITERATIONS, Finished, describe, run
from mmengine.config import Config
from mmseg.registry import RUNNERS
from shell_commands import interrupt

from mmseg_cicld.adapt.__main__ import closing_lines
from mmseg_cicld.adapt.options import Options
from mmseg_cicld.engine import AdaptationRunner

ROOT = Path(__file__).parents[2]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    last = max(folder.glob('iter_*.pth'), key=lambda path: int(path.stem[5:]))
    return torch.load(last, weights_only=True)['state_dict']


def _assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert list(one) == list(other)
    assert [name for name, value in one.items() if not torch.equal(value, other[name])] == []


def test_all_results_are_there(finished: Finished):
    folder = finished.options.work_dir
    files = ('summary.json', 'audit.txt', 'choices.json', 'configs/source_only.py', 'configs/adaptation.py',
             'segmentor/segmentor.py', 'segmentor/segmentor.pth', 'report.html', 'source_only/iter_2.pth',
             'adaptation/iter_2.pth')
    assert [name for name in files if not (folder / name).is_file()] == []
    assert len(list((folder / 'adaptation').glob('best_mIoU_iter_*.pth'))) == 1


def test_progress_names_every_stage(finished: Finished):
    printed = '\n'.join(finished.printed)
    for stage in ('[1/4] data', '[2/4] source-only training', '[3/4] adaptation', '[4/4] evaluation and report'):
        assert stage in printed
    assert '2/2 iterations, 0:00 left, all ' in printed


def test_networks_and_normalisations_are_reported_side_by_side(finished: Finished):
    rows = finished.summary['networks']
    assert [(row['stage'], row['network'], row['batch_norms']) for row in rows] == [
        (stage, network, kind) for stage, network in (('source_only', 'student'), ('adaptation', 'student'),
                                                      ('adaptation', 'teacher'))
        for kind in ('running statistics', 'statistics of the target')]
    assert set(finished.summary['per_class']) == {'road', 'car', 'sign'}
    report = (finished.options.work_dir / 'report.html').read_text()
    assert 'adapted: teacher, statistics of the target' in report
    assert 'The checkpoint was chosen by the labelled target images' in report


def test_scores_are_those_of_mmseg(finished: Finished):
    folder = finished.options.work_dir
    cfg = Config.fromfile(folder / 'configs/adaptation.py')
    cfg.work_dir, cfg.load_from = str(finished.root / 'test'), finished.summary['checkpoint']
    assert finished.summary['adapted_miou'] == pytest.approx(AdaptationRunner.from_cfg(cfg).test()['mIoU'], abs=0.006)


@pytest.mark.parametrize('stage', ['source_only', 'adaptation'])
def test_plain_config_trains_the_same(finished: Finished, stage, tmp_path):
    cfg = Config.fromfile(finished.options.work_dir / f'configs/{stage}.py')
    cfg.work_dir = str(tmp_path)
    RUNNERS.build(cfg).train()
    _assert_equal(_weights(tmp_path), _weights(finished.options.work_dir / stage))


def test_a_second_run_reuses_everything(finished: Finished):
    folder = finished.options.work_dir
    before = {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.is_file() and path.suffix != '.lock'}
    summary, printed = run(finished.options, finished.data)
    assert printed == [] and summary == finished.summary
    assert {path: path.stat().st_mtime_ns for path in folder.rglob('*')
            if path.is_file() and path.suffix != '.lock'} == before


def test_next_commands_are_printed_with_files_that_exist(finished: Finished):
    lines = closing_lines(finished.options, finished.data, finished.summary)
    assert 'mIoU' in lines[0]
    words = [word for line in lines for word in line.split() if word.startswith(str(finished.root))]
    made = [word for word in words if not word.endswith(('predictions', '.onnx'))]
    assert len(made) >= 5 and all(Path(word).exists() for word in made), made


def test_stopped_in_each_stage_it_goes_on_to_the_same_weights(finished: Finished, tmp_path):
    work_dir, root = tmp_path / 'work', finished.root
    command = [ROOT / 'tools/adapt.py', '--source', root / 'source/images', root / 'source/labels', '--target',
               root / 'target/images', '--val', root / 'val/images', root / 'val/labels', '--classes',
               root / 'classes.txt', '--work-dir', work_dir, '--method', 'dacs', '--iterations', str(ITERATIONS)]

    def stopped(python: str | Path, appeared: str, signum: int) -> str:
        return interrupt([python, *command], ROOT, (work_dir / appeared).is_file, signum)

    stopped(sys.executable, 'class_statistics/sample_class_stats_dict.json', signal.SIGKILL)
    printed = stopped(preloaded_python.python(), 'source_only/iter_1.pth', signal.SIGTERM)
    assert 'Run the same command again to go on' in printed
    assert 'Run the same' in stopped(preloaded_python.python(), 'adaptation/iter_1.pth', signal.SIGINT)
    assert not (work_dir / 'summary.json').exists()
    options = Options(work_dir, 'dacs', iterations=ITERATIONS)
    summary, _ = run(options, finished.data)
    for stage in ('source_only', 'adaptation'):
        _assert_equal(_weights(work_dir / stage), _weights(finished.options.work_dir / stage))
    assert summary['networks'] == finished.summary['networks']


def test_without_target_labels_and_by_minutes(root):
    """Nothing is said that is not known; the steps that were timed decide once how long it takes."""
    data = describe(root, validation=None)
    options = Options(root / 'work', minutes=0.001)
    summary, _ = run(options, data)
    choices = (root / 'work/choices.json').read_text()
    speed = json.loads(choices)['speed']
    assert len(speed['step']) == 2 and min(speed['step'].values()) > 0 and speed['validation'] == 0
    assert summary['iterations'] == dict(source_only=1, adaptation=1) and not (root / 'work/timing').exists()
    assert summary['source_only_miou'] is None is summary['adapted_miou'] and summary['networks'] == []
    assert summary['checkpoint'].endswith('adaptation/iter_1.pth')
    confidence, unknown = summary['notes']
    assert confidence.startswith('only') and 'lower threshold=' in confidence
    assert unknown.startswith('there are no target labels, so how good the networks are on the target is not known')
    assert 'without a score for want of target labels' in closing_lines(options, data, summary)[0]
    (root / 'work/summary.json').unlink()
    run(options, data)
    assert (root / 'work/choices.json').read_text() == choices
