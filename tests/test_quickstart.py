"""The quick start runs to its end, reuses what is there, and continues where it was stopped."""
import json
import shutil
import signal
import time
from pathlib import Path

import preloaded_python
import pytest
import torch
from shell_commands import interrupt

from mmseg_cicld.progress import Progress
from mmseg_cicld.quickstart.options import OptionsChanged, QuickstartOptions, claim_folder
from mmseg_cicld.quickstart.stages import run_quickstart

ROOT = Path(__file__).parents[1]
SMALL = dict(images=8, source_iters=3, adapt_iters=3)
KEYS = {'source_only_miou', 'adapted_miou', 'per_class', 'iterations', 'seconds', 'seed', 'versions', 'device', 'notes'}


def _run(options: QuickstartOptions) -> str:
    """Runs the quick start in this process and returns what it printed."""
    claim_folder(options)
    lines: list[str] = []
    run_quickstart(options, Progress(lines.append, whole='whole quick start', report_every=0))
    return '\n'.join(lines)


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[QuickstartOptions, str]:
    """A finished quick start and what it printed."""
    folder = tmp_path_factory.mktemp('quickstart')
    options = QuickstartOptions(work_dir=folder / 'work', data_root=folder / 'street', **SMALL)
    return options, _run(options)


def _weights(options: QuickstartOptions) -> dict[str, torch.Tensor]:
    file = options.work_dir / 'adaptation' / f'iter_{options.adapt_iters}.pth'
    return torch.load(file, weights_only=True)['state_dict']


def test_summary_and_report_are_complete(finished):
    options, _ = finished
    summary = json.loads((options.work_dir / 'summary.json').read_text())
    assert set(summary) >= KEYS
    assert len(summary['per_class']) == 19
    assert all(set(entry) == {'source_only', 'adaptation'} for entry in summary['per_class'].values())
    assert summary['iterations'] == dict(source_only=3, adaptation=3) and summary['seed'] == 0
    assert summary['seconds'] > 1 and summary['versions']['torch'] == torch.__version__
    report = (options.work_dir / 'report.html').read_text()
    for part in ('image', 'label', 'source-only', 'adapted', 'pseudo-label', 'mix', 'polyline', 'traffic sign'):
        assert part in report, part


def test_progress_tells_stage_and_remaining_time(finished):
    _, printed = finished
    for stage in ('[1/5] street set', '[2/5] data', '[3/5] source-only training', '[4/5] adaptation', '[5/5] evaluation'):
        assert stage in printed
    assert '3/3 iterations, 0:00 left, whole quick start' in printed


def test_the_street_set_is_used_whole(finished):
    options, _ = finished
    settings = json.loads((options.work_dir / 'choices.json').read_text())['settings']
    assert settings['crop_size'] == [128, 256] and settings['source_scale'] is None is settings['target_scale']
    assert (settings['source_only'], settings['adaptation']) == (3, 3)


def test_adaptation_starts_from_the_source_only_weights(finished):
    options, _ = finished
    source = torch.load(options.work_dir / 'source_only' / 'iter_3.pth', weights_only=True)['state_dict']
    name = 'student.decode_head.conv_seg.weight'
    assert (_weights(options)[name] - source[name]).abs().max() < 0.02, 'three small steps away'


def test_a_second_run_reuses_everything(finished):
    options, _ = finished
    before = {path: path.stat().st_mtime_ns for path in options.work_dir.rglob('*') if path.is_file()}
    began = time.monotonic()
    printed = _run(options)
    assert time.monotonic() - began < 2 and printed == ''
    assert {path: path.stat().st_mtime_ns for path in options.work_dir.rglob('*') if path.is_file()} == before


def test_a_lost_report_is_made_again_without_training(finished):
    options, _ = finished
    (options.work_dir / 'report.html').unlink()
    printed = _run(options)
    assert (options.work_dir / 'report.html').is_file()
    assert printed.count('finished before') == 2


def test_changed_options_are_refused_with_both_ways_out(finished):
    options, _ = finished
    other = QuickstartOptions(options.work_dir, options.data_root, **dict(SMALL, adapt_iters=4))
    with pytest.raises(OptionsChanged, match='--adapt-iters 3.*--adapt-iters 4.*--work-dir'):
        claim_folder(other)


@pytest.mark.parametrize('option', [dict(images=1), dict(source_iters=0), dict(adapt_iters=1), dict(seed=-1)])
def test_numbers_out_of_range_are_refused(option):
    with pytest.raises(ValueError, match='--' + next(iter(option)).replace('_', '-')):
        QuickstartOptions(**option)


def test_a_stopped_run_continues_to_the_same_weights(finished, tmp_path):
    """Stops in the source-only training, and kills, are those of tests/test_adapt/test_adaptation.py."""
    done, _ = finished
    options = QuickstartOptions(work_dir=tmp_path / 'work', data_root=done.data_root, **SMALL)
    # As if it had been killed when the source-only training had just ended.
    shutil.copytree(done.work_dir, options.work_dir, ignore=shutil.ignore_patterns(
        'adaptation', 'segmentor', 'stages.json', 'summary.json', 'report.html'))
    numbers = [text for name, value in SMALL.items() for text in (f'--{name.replace("_", "-")}', str(value))]
    command = [preloaded_python.python(), '-m', 'mmseg_cicld.quickstart', '--work-dir', options.work_dir, '--data-root',
               options.data_root, *numbers]
    printed = interrupt(command, ROOT, (options.work_dir / 'adaptation/iter_1.pth').is_file, signal.SIGINT)
    assert 'Run the same command again to continue' in printed
    assert not (options.work_dir / 'summary.json').exists()
    _run(options)
    straight, continued = _weights(done), _weights(options)
    assert straight.keys() == continued.keys()
    assert [name for name, value in straight.items() if not torch.equal(value, continued[name])] == []


def test_a_street_set_of_other_options_is_refused(finished, tmp_path):
    done, _ = finished
    options = QuickstartOptions(work_dir=tmp_path / 'work', data_root=done.data_root, **dict(SMALL, images=9))
    with pytest.raises(OptionsChanged, match='--data-root'):
        _run(options)
