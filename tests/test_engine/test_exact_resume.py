"""A run that was stopped and resumed is the run that was not stopped, bit by bit."""
import multiprocessing
import os
import signal

import pytest
from toy_training import (DEGRADED, STACKED, TWO_SCALES, ToyPairs, assert_same_run, records, toy_config, train,
                          train_in_child)

from mmseg_cicld.datasets import DrawKey
from mmseg_cicld.engine import AdaptationRunner, CheckpointError, KeyedInfiniteSampler


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
    """Eight iterations without a stop: 16 draws wrap around the 5 pairs thrice, validation after 4 and 8."""
    folder = tmp_path_factory.mktemp('straight')
    train(folder)
    return folder


@pytest.mark.parametrize('workers', [0, 2])
def test_resume_after_kill_is_exact(straight, tmp_path, workers):
    kill = {'custom_hooks.0.signal_at': 6}
    assert train_in_child(tmp_path, workers=workers, options=kill) == -signal.SIGKILL
    assert len(records(tmp_path)) == 5 and not (tmp_path / 'iter_6.pth').exists()
    train(tmp_path, workers=workers, options={'resume': True})
    assert_same_run(straight, tmp_path)


@pytest.mark.parametrize('method, logged', [
    (TWO_SCALES, 'masked.decode.hr.loss_ce'), (DEGRADED, 'degraded.target.loss_reconstruction'),
    (TWO_SCALES | DEGRADED, 'degraded.target.decode.hr.loss_ce'), (STACKED, 'rebuilt.decode.loss_ce'),
    (TWO_SCALES | STACKED, 'twins.second.decode.hr.loss_ce')],
    ids=['hrda and mic', 'dida', 'hrda and dida', 'mrm, blda, masktwins', 'hrda and mrm, blda, masktwins'])
def test_methods_resume_exactly_after_kill(tmp_path, method, logged):
    train(tmp_path / 'straight', options=method)
    kill = method | {'custom_hooks.0.signal_at': 6}
    assert train_in_child(tmp_path / 'killed', workers=2, options=kill) == -signal.SIGKILL
    train(tmp_path / 'killed', options=method | {'resume': True})
    assert_same_run(tmp_path / 'straight', tmp_path / 'killed')
    assert logged in records(tmp_path / 'killed')[0]


def test_resume_after_kill_within_a_checkpoint_is_exact(straight, tmp_path):
    def kill_in_second_checkpoint():
        calls, fsync = [], os.fsync

        def counted(descriptor):
            calls.append(descriptor)
            # A checkpoint syncs four times: file, folder, pointer, folder.
            if len(calls) == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            fsync(descriptor)

        os.fsync = counted

    assert train_in_child(tmp_path, kill_in_second_checkpoint) == -signal.SIGKILL
    assert not (tmp_path / 'iter_6.pth').exists()
    train(tmp_path, options={'resume': True})
    assert_same_run(straight, tmp_path)
    assert not list(tmp_path.glob('.*'))


def test_number_of_workers_may_change(straight, tmp_path):
    train(tmp_path, workers=2, options={'train_cfg.max_iters': 3})
    train(tmp_path, workers=0, options={'resume': True})
    assert_same_run(straight, tmp_path)


def test_workers_of_the_loaders_end_with_the_training(tmp_path):
    workers = {f'{part}_dataloader.{key}': value for part in ('train', 'val')
               for key, value in dict(num_workers=1, persistent_workers=True).items()}
    runner = train(tmp_path, options={'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2, **workers})
    assert multiprocessing.active_children() == []
    assert 'mIoU' in runner.val()  # a loader begins anew, with other workers


def test_plain_segmentor_with_dropout_resumes_exactly(tmp_path):
    segmentor = toy_config(str(tmp_path)).model.segmentor
    options = {'model': dict(_delete_=True, **segmentor),
               'train_dataloader.dataset': dict(_delete_=True, type='ToyLabelled')}
    train(tmp_path / 'straight', options=options)
    train(tmp_path / 'stopped', options={**options, 'train_cfg.max_iters': 3})
    train(tmp_path / 'stopped', options={**options, 'resume': True})
    assert_same_run(tmp_path / 'straight', tmp_path / 'stopped')


def test_validation_and_checkpoints_do_not_disturb(straight, tmp_path):
    train(tmp_path, save_interval=1, val_interval=3)
    assert_same_run(straight, tmp_path)


def test_another_seed_is_another_run(straight, tmp_path):
    train(tmp_path, options={'randomness.seed': 4})
    assert records(tmp_path)[0]['loss'] != records(straight)[0]['loss']


def test_seed_of_the_checkpoint_is_taken_if_the_config_has_none(straight, tmp_path):
    train(tmp_path, options={'train_cfg.max_iters': 3})
    runner = train(tmp_path, options={'resume': True, 'randomness.seed': None})
    assert runner.seed == runner.model.streams.seed == 3
    assert_same_run(straight, tmp_path)


@pytest.mark.parametrize('change, named', [
    ({'randomness.seed': 4}, r'randomness.seed=3, the config says 4'),
    ({'train_dataloader.batch_size': 3}, r'2 images an iteration .* now there are 3'),
])
def test_resume_of_another_run_is_refused(tmp_path, change, named):
    train(tmp_path, options={'train_cfg.max_iters': 1})
    with pytest.raises(CheckpointError, match=named):
        train(tmp_path, options={'resume': True, **change})


def test_a_seed_of_each_rank_is_refused(tmp_path):
    with pytest.raises(ValueError, match='diff_rank_seed'):
        train(tmp_path, options={'randomness.diff_rank_seed': True})


def test_another_sampler_is_refused(tmp_path):
    cfg = toy_config(str(tmp_path), options={'train_dataloader.sampler': dict(type='DefaultSampler')})
    with pytest.raises(TypeError, match='DefaultSampler.*KeyedInfiniteSampler'):
        AdaptationRunner.from_cfg(cfg).train()


def test_sampler_yields_positions_and_skips():
    sampler = KeyedInfiniteSampler(ToyPairs(), seed=7)
    draws = iter(sampler)
    assert [next(draws) for _ in range(3)] == [DrawKey(7, 0), DrawKey(7, 1), DrawKey(7, 2)]
    sampler.skip(10**9)
    assert next(iter(sampler)) == DrawKey(7, 10**9)
    assert len(sampler) == 5


def test_samplers_of_processes_share_the_positions():
    samplers = [KeyedInfiniteSampler(ToyPairs(), seed=7) for _ in range(2)]
    for rank, sampler in enumerate(samplers):
        sampler.rank, sampler.world_size = rank, 2
        sampler.skip(3)
    draws = [iter(sampler) for sampler in samplers]
    assert [next(stream).position for _ in range(2) for stream in draws] == [6, 7, 8, 9]
