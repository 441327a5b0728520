"""tools/train_stages.py: a sequence of trainings that can be stopped anywhere."""
import json
import os
import runpy
import shutil
import signal
import socket
import sys
from pathlib import Path

import preloaded_python
import pytest
import torch
from mmengine.config import Config
from shell_commands import ROOT, SHRUNK, preloaded_environment, render_tiny_street, run

sys.path.insert(0, str(ROOT / 'tests/test_engine'))

from toy_training import assert_same, records, toy_config, train

from mmseg_cicld.engine import CheckpointError, read_checkpoint
from mmseg_cicld.engine.folder_lock import locked_folder
from mmseg_cicld.engine.stages import Stage, run_stages

TOOL = ROOT / 'tools/train_stages.py'


def stage_config(root: Path, name: str, seed: int, options: dict | None = None) -> Config:
    """The toy training in the folder ``root/name``, four iterations and a checkpoint after the second."""
    config = toy_config(str(root / name), max_iters=4, save_interval=2, val_interval=4, options=options)
    config.randomness.seed = seed
    config.experiment_name = f'{root}/{name}'
    config.custom_hooks.append(dict(type='SignalFromOutside'))
    config.custom_imports = dict(imports=['mmseg_cicld', 'toy_training'], allow_failed_imports=False)
    config.pop('work_dir')
    return config


def write_configs(root: Path) -> list[Path]:
    root.mkdir(exist_ok=True)
    files = []
    for seed, name in enumerate(('first', 'second', 'third')):
        files.append(root / f'{name}.py')
        stage_config(root, name, seed).dump(str(files[-1]))
    return files


def run_tool(root: Path, files: list[Path], *more: str, code: int = 0, launch: tuple = (), python: str | None = None,
             **variables: str) -> str:
    path = os.pathsep.join([str(ROOT / 'tests/test_engine'), str(ROOT)])
    command = [python or preloaded_python.python(), '-W', 'ignore', *launch, TOOL, *files,
               '--work-dir', root, *more]  # the last one counts
    done = run(command, cwd=root, env=preloaded_environment(PYTHONPATH=path, **variables), code=code)
    return done.stdout + done.stderr


def assert_same_end(one: Path, other: Path) -> None:
    states = [read_checkpoint(root / 'third/iter_4.pth') for root in (one, other)]
    for part in ('state_dict', 'optimizer'):
        assert_same(states[0][part], states[1][part], part)
    for name in ('first', 'second', 'third'):
        assert records(one / name) == records(other / name)


@pytest.fixture(scope='module')
def straight(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('straight')
    assert 'all stages are finished' in run_tool(root, write_configs(root), python=sys.executable)
    return root


def test_each_stage_starts_with_the_weights_of_the_one_before(straight, tmp_path):
    ended = read_checkpoint(straight / 'first/iter_4.pth')['state_dict']
    handed = read_checkpoint(straight / 'second/handed_over.pth')['state_dict']
    student = {name: value for name, value in ended.items() if name.startswith('student.')}
    assert_same(dict(handed), student)
    # The same second stage by hand.
    config = stage_config(tmp_path, 'second', 1, {'load_from': str(straight / 'second/handed_over.pth')})
    config.work_dir = str(tmp_path / 'second')
    train(tmp_path / 'second', lambda work_dir: config)
    assert_same(*(read_checkpoint(root / 'second/iter_4.pth')['state_dict'] for root in (straight, tmp_path)))
    assert list(json.loads((straight / 'stages.json').read_text())['finished']) == ['first', 'second', 'third']


@pytest.mark.parametrize('iteration', [1, 4])
def test_a_kill_in_the_second_stage_changes_nothing(straight, tmp_path, iteration):
    """Killed before the stage has a checkpoint of its own, and after that."""
    files = write_configs(tmp_path)
    run_tool(tmp_path, files, code=-signal.SIGKILL, TOY_SIGNAL=f'second:{iteration}:{int(signal.SIGKILL)}')
    assert list(json.loads((tmp_path / 'stages.json').read_text())['finished']) == ['first']
    run_tool(tmp_path, files)
    assert_same_end(straight, tmp_path)
    lines = (tmp_path / 'first/record.jsonl.rank0').read_text().splitlines()
    assert len(lines) == 4  # the finished stage was not run again


def test_a_polite_stop_ends_the_sequence_and_it_goes_on(straight, tmp_path):
    files = write_configs(tmp_path)
    run_tool(tmp_path, files, code=128 + signal.SIGTERM, TOY_SIGNAL=f'first:2:{int(signal.SIGTERM)}')
    run_tool(tmp_path, files)
    assert_same_end(straight, tmp_path)


def test_a_stage_that_ended_just_before_the_state_was_written_is_not_trained_again(straight, tmp_path):
    stages = [Stage('first', stage_config(tmp_path, 'first', 0))]
    run_stages(stages, tmp_path)
    (tmp_path / 'stages.json').unlink()
    assert run_stages(stages, tmp_path) == tmp_path / 'first/iter_4.pth'
    assert records(tmp_path / 'first') == records(straight / 'first')


def test_two_processes(tmp_path):
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        port = probe.getsockname()[1]
    files = write_configs(tmp_path)[:2]
    run_tool(tmp_path, files, '--launcher', 'pytorch', '--cfg-options', 'train_dataloader.batch_size=1',
             launch=('-m', 'torch.distributed.run', '--nproc_per_node=2', f'--master_port={port}'))
    ranks = [torch.load(tmp_path / f'second/final.rank{rank}', weights_only=True) for rank in (0, 1)]
    assert all(torch.equal(ranks[0][name], ranks[1][name]) for name in ranks[0])


@pytest.fixture(scope='module')
def street(tmp_path_factory) -> Path:
    """A tiny street set."""
    root = tmp_path_factory.mktemp('street')
    render_tiny_street(root)
    return root


@pytest.mark.parametrize('names', [
    ('cicld-stage1_street', 'cicld-stage2_street', 'cicld-one-step_street'),
    ('cicld-autoencoder_pretraining', 'cicld-autoencoder-denoiser_street', 'cicld-autoencoder-stage1_street',
     'cicld-autoencoder-stage2_street')], ids=['three', 'four'])
def test_the_stages_of_the_street_set(street, names):
    """All weights go on; each stage changes only what it is to change."""
    files = [ROOT / f'configs/street/{name}.py' for name in names]
    run_tool(street, files, '--work-dir', f'work_dirs/{len(names)}', '--cfg-options', 'train_cfg.max_iters=1',
             'train_cfg.val_begin=9', *(option for option in SHRUNK if option.startswith('train_data')))
    ends = [read_checkpoint(street / f'work_dirs/{len(names)}/{name}/iter_1.pth')['state_dict'] for name in names]
    one, two = ends[-2:] if len(names) == 4 else ends[:2]
    started = {name.replace('teacher.network.', 'student.'): value for name, value in one.items()
               if name.startswith('teacher.network.')}
    moved = {name for name, value in started.items() if not torch.equal(value, two[name])}
    assert moved and all(name.startswith('student.decode_head.denoiser.') for name in moved)
    if len(names) == 4:
        pretrained, denoiser = ends[:2]
        assert all(torch.equal(value, pretrained[name.replace('student.backbone.', 'autoencoder.encoder.')])
                   for name, value in denoiser.items() if name.startswith('student.backbone.'))


def test_weights_can_be_handed_over_under_other_names(tmp_path):
    teacher = {'hand_over': {'teacher.network.': 'student.'}}
    run_stages([Stage('first', stage_config(tmp_path, 'first', 0)),
                Stage('second', stage_config(tmp_path, 'second', 1, teacher))], tmp_path)
    ended = read_checkpoint(tmp_path / 'first/iter_4.pth')['state_dict']
    handed = read_checkpoint(tmp_path / 'second/handed_over.pth')['state_dict']
    assert len(handed) == sum(name.startswith('teacher.') for name in ended)
    assert all(torch.equal(value, ended[name.replace('student.', 'teacher.network.', 1)])
               for name, value in handed.items())


def test_other_sequences_and_changed_configs_are_refused(straight, tmp_path):
    def stages(*names: str, options: dict | None = None) -> list[Stage]:
        return [Stage(name, stage_config(tmp_path, name, seed, options)) for seed, name in enumerate(names)]

    run_stages(stages('first'), tmp_path)
    for wrong, message in [
        (stages('second'), r"belongs to the stages \['first'\], you asked for \['second'\]"),
        (stages('first', options={'optim_wrapper.optimizer.lr': 1e-2}), 'config of first is not the one'),
        (stages('first', 'first'), 'need names of their own'),
        (stages('one', 'two', options={'load_from': 'x.pth'}), 'two sets load_from or resume'),
    ]:
        with pytest.raises(CheckpointError, match=message):
            run_stages(wrong, tmp_path)


def test_a_config_that_has_changed_in_the_middle_of_its_stage_is_refused(tmp_path):
    one, other = ([Stage('first', stage_config(tmp_path, 'first', 0, options))]
                  for options in ({}, {'optim_wrapper.optimizer.lr': 1e-2}))
    run_stages(one, tmp_path)
    for file in ('stages.json', 'first/iter_4.pth'):  # as if it had been stopped after its first checkpoint
        (tmp_path / file).unlink()
    with pytest.raises(CheckpointError, match='the config of first .* not the one with which this stage was begun'):
        run_stages(other, tmp_path)
    assert not (tmp_path / 'first/iter_4.pth').exists()
    assert run_stages(one, tmp_path) == tmp_path / 'first/iter_4.pth'  # the config is restored
    (tmp_path / 'stages.json').unlink()
    shutil.rmtree(tmp_path / 'first')
    assert run_stages(other, tmp_path) == tmp_path / 'first/iter_4.pth'  # the folder is removed


def test_weights_without_a_place_are_named(tmp_path):
    wrong = {'hand_over': {'student.': 'teacher.'}}
    with pytest.raises(CheckpointError, match=r'of which the next model lacks \(teacher\..*set hand_over'):
        run_stages([Stage('first', stage_config(tmp_path, 'first', 0)),
                    Stage('second', stage_config(tmp_path, 'second', 1, wrong))], tmp_path)


def test_a_folder_in_which_another_process_trains_is_refused(tmp_path):
    files = write_configs(tmp_path)[:1]
    with locked_folder(tmp_path):
        said = run_tool(tmp_path, files, code=1)
    assert f'running.lock: is held by process {os.getpid()} on ' in said and 'Traceback' not in said
    assert not (tmp_path / 'first').exists()


def test_a_missing_config_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), 'nothing.py', '--work-dir', 'nowhere'])
    with pytest.raises(SystemExit, match='2'):
        runpy.run_path(str(TOOL), run_name='__main__')
    assert 'cannot read the config' in capsys.readouterr().err
