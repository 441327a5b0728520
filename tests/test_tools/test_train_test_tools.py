"""tools/train.py and its relatives, run as processes on the rendered street set.

Ours have imported the package before they start, but for the first; mmseg's import nothing of it before their config.
"""
import json
import os
import re
import runpy
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import mmseg
import pytest
import torch
from shell_commands import ROOT, SHRUNK, environment, preloaded, preloaded_environment, python, render_tiny_street, run

TRAIN, TEST = ROOT / 'tools/train.py', ROOT / 'tools/test.py'
MMSEG_TOOLS = Path(mmseg.__file__).parent / '.mim' / 'tools'
CONFIG = ROOT / 'configs/quickstart/adapt_street.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a tiny street set."""
    root = tmp_path_factory.mktemp('tools')
    render_tiny_street(root)
    return root


@pytest.fixture(scope='module')
def trained(folder: Path) -> Path:
    """A work dir after two iterations, with the checkpoints of both."""
    python(TRAIN, CONFIG, '--work-dir', 'trained', '--cfg-options', *SHRUNK, cwd=folder)
    return folder / 'trained'


def _stopped(folder: Path, trained: Path, name: str) -> Path:
    """Returns a new work dir that looks as if the training had stopped after one iteration."""
    (folder / name).mkdir()
    shutil.copy(trained / 'iter_1.pth', folder / name)
    return folder / name


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Runs a script whose command line has to be refused, and returns the last line of its message."""
    def refuse(script: Path, *arguments: str | Path) -> str:
        monkeypatch.setattr(sys, 'argv', [str(script), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(script), run_name='__main__')
        assert ended.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    return refuse


def _weights(file: Path) -> dict[str, torch.Tensor]:
    return torch.load(file, weights_only=True)['state_dict']


def _assert_equal(one: Path, other: Path) -> None:
    one, other = _weights(one), _weights(other)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _port() -> str:
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        return str(probe.getsockname()[1])


def _last(done) -> str:
    return done.stderr.splitlines()[-1]


def test_resume_from_the_work_dir_and_from_a_file_end_as_without_a_stop(folder, trained):
    stopped = _stopped(folder, trained, 'stopped')
    for work_dir, source in ((stopped, []), (folder / 'other', [trained / 'iter_1.pth'])):
        done = preloaded(TRAIN, CONFIG, '--work-dir', work_dir, '--resume', *source, '--cfg-options', *SHRUNK, cwd=folder)
        assert 'at iteration 1' in done.stdout + done.stderr
        _assert_equal(trained / 'iter_2.pth', work_dir / 'iter_2.pth')


def test_mmsegs_own_tools_work_on_our_configs(folder, trained):
    work_dir = _stopped(folder, trained, 'mmseg')
    python(MMSEG_TOOLS / 'train.py', CONFIG, '--work-dir', work_dir, '--resume', '--cfg-options', *SHRUNK, cwd=folder)
    _assert_equal(trained / 'iter_2.pth', work_dir / 'iter_2.pth')
    tested = python(MMSEG_TOOLS / 'test.py', CONFIG, trained / 'iter_2.pth', '--work-dir', 'mmseg_test', '--cfg-options',
                    *SHRUNK, cwd=folder)
    assert 'mIoU' in tested.stdout + tested.stderr


def test_mim_trains_our_configs(folder, trained):
    preloaded('-m', 'mim', 'train', 'mmsegmentation', CONFIG, '--gpus', '0', '--work-dir', 'mim', '--cfg-options', *SHRUNK,
              cwd=folder, env=preloaded_environment())
    _assert_equal(trained / 'iter_2.pth', folder / 'mim/iter_2.pth')


def test_test_writes_scores_predictions_and_pictures(folder, trained):
    preloaded(TEST, CONFIG, trained / 'iter_2.pth', '--work-dir', 'tested', '--out', 'predictions', '--show-dir', 'pictures',
              '--cfg-options', *SHRUNK, cwd=folder)
    scores, = (folder / 'tested').glob('*/2*.json')
    assert 0 <= json.loads(scores.read_text())['mIoU'] <= 100
    assert len(list((folder / 'predictions').glob('*.png'))) == 2
    assert len(list((folder / 'pictures').rglob('vis_image/*.png'))) == 2


def test_tta_averages_with_the_mirrored_image(folder, trained):
    tested = preloaded(TEST, CONFIG, trained / 'iter_2.pth', '--work-dir', 'tta', '--tta', '--cfg-options', *SHRUNK,
                       cwd=folder)
    assert 'mIoU' in tested.stdout + tested.stderr
    assert "type='SegTTAModel'" in (folder / 'tta/adapt_street.py').read_text()


def test_amp_trains_in_bfloat16(folder):
    preloaded(TRAIN, CONFIG, '--work-dir', 'amp', '--amp', '--cfg-options', *SHRUNK, cwd=folder)
    assert "type='AutocastOptimWrapper'" in (folder / 'amp/adapt_street.py').read_text()


def test_amp_is_refused_where_it_cannot_work(refusal, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert 'use --amp bfloat16' in refusal(TRAIN, CONFIG, '--amp', 'float16')
    assert 'AmpOptimWrapper' in refusal(TRAIN, CONFIG, '--amp', '--cfg-options', 'optim_wrapper.type=AmpOptimWrapper')


def test_two_processes_train_and_test(folder):
    run(['bash', ROOT / 'tools/dist_train.sh', CONFIG, '2', '--work-dir', 'dist', '--cfg-options', *SHRUNK], cwd=folder,
        env=preloaded_environment(PORT=_port()))
    assert (folder / 'dist/iter_2.pth').is_file()
    tested = run(['bash', ROOT / 'tools/dist_test.sh', CONFIG, 'dist/iter_2.pth', '2', '--work-dir', 'dist_test',
                  '--cfg-options', *SHRUNK], cwd=folder, env=preloaded_environment(PORT=_port()))
    assert 'mIoU' in tested.stdout + tested.stderr


@pytest.mark.parametrize(('script', 'arguments'), [('train', ['CONFIG']), ('test', ['CONFIG', 'CHECKPOINT'])])
def test_slurm_scripts_ask_for_a_task_a_gpu(script, arguments, tmp_path):
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    srun.chmod(0o755)
    env = environment(GPUS='16', GPUS_PER_NODE='8', SRUN_ARGS='--time=1:00 --qos=high')
    env['PATH'] = f'{tmp_path}{os.pathsep}{env["PATH"]}'
    called = run(['bash', ROOT / f'tools/slurm_{script}.sh', 'part', 'job', *arguments, '--cfg-options', 'a.b=[1, 2]'],
                 cwd=tmp_path, env=env).stdout.splitlines()
    assert {'--partition=part', '--job-name=job', '--ntasks=16', '--ntasks-per-node=8', '--gres=gpu:8', '--time=1:00',
            '--qos=high'} <= set(called)
    assert called[-4 - len(arguments):] == [*arguments, '--launcher', 'slurm', '--cfg-options', 'a.b=[1, 2]']
    assert re.search(rf'tools/{script}\.py$', called[-5 - len(arguments)])


@pytest.mark.parametrize(('script', 'least'), [('dist_train', 2), ('dist_test', 3), ('slurm_train', 3), ('slurm_test', 4)])
def test_scripts_without_their_arguments_say_how_they_are_used(script, least, tmp_path):
    done = run(['bash', ROOT / f'tools/{script}.sh', *['x'] * (least - 1)], cwd=tmp_path, code=1)
    assert f'usage: {script}.sh' in done.stderr


def test_missing_configs_and_options_in_a_wrong_place_give_one_line(refusal):
    assert "'no_such.py'" in refusal(TRAIN, 'no_such.py')
    assert "'no_such.py'" in refusal(TEST, 'no_such.py', 'x.pth')
    assert 'write CONFIG before --resume' in refusal(TRAIN, '--resume', CONFIG)


def test_options_that_nothing_reads_are_refused(refusal):
    for script, arguments in ((TRAIN, [CONFIG]), (TEST, [CONFIG, 'x.pth'])):
        assert "did you mean 'model'?" in refusal(script, *arguments, '--cfg-options', 'modle.evaluate=teacher')
        assert 'is replaced' in refusal(script, *arguments, '--cfg-options', 'model.objectives=[]', 'model.objectives.0=1')


def test_resume_in_an_empty_folder_begins_with_load_from(folder, trained):
    options = [*SHRUNK, f'load_from={trained / "iter_2.pth"}', 'optim_wrapper.optimizer.lr=0']
    done = preloaded(TRAIN, CONFIG, '--work-dir', 'begun', '--resume', '--cfg-options', *options, cwd=folder)
    assert f'with the weights of {trained / "iter_2.pth"}' in done.stdout + done.stderr
    name = 'student.decode_head.conv_seg.weight'
    assert torch.equal(_weights(folder / 'begun/iter_2.pth')[name], _weights(trained / 'iter_2.pth')[name])


def test_missing_checkpoint_gives_one_line(folder):
    done = preloaded(TEST, CONFIG, 'no_such.pth', '--work-dir', 'none', '--cfg-options', *SHRUNK, cwd=folder, code=1)
    assert _last(done) == 'error: no_such.pth: there is no such file' and 'Traceback' not in done.stderr


def test_unsafe_checkpoints_need_the_flag(folder, trained):
    checkpoint = torch.load(trained / 'iter_2.pth', weights_only=True)
    torch.save(dict(checkpoint, note=re.compile('an object')), folder / 'unsafe.pth')
    refused = preloaded(TEST, CONFIG, 'unsafe.pth', '--work-dir', 'unsafe', '--cfg-options', *SHRUNK, cwd=folder, code=1)
    assert '--allow-unsafe-checkpoint' in _last(refused)
    preloaded(TEST, CONFIG, 'unsafe.pth', '--work-dir', 'unsafe', '--allow-unsafe-checkpoint', '--cfg-options', *SHRUNK,
              cwd=folder)


def test_print_config_shows_options_and_configs_of_the_package_by_name(capsys, monkeypatch):
    script = ROOT / 'tools/misc/print_config.py'
    monkeypatch.setattr(sys, 'argv', [str(script), 'mmseg_cicld::quickstart/adapt_street.py', '--cfg-options',
                                      'train_cfg.max_iters=7'])
    runpy.run_path(str(script), run_name='__main__')
    printed = capsys.readouterr().out
    assert 'max_iters=7' in printed and "type='ClassMixEMA'" in printed
