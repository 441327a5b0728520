"""Which checkpoint is continued from, what is refused, and that a failed write loses nothing."""
import os
import resource
import shutil

import pytest
import torch
from mmengine.logging import MMLogger
from toy_training import Recorder, assert_same, assert_same_run, toy_config, train, train_in_child

from mmseg_cicld.engine import AdaptationRunner, CheckpointError, read_checkpoint, write_checkpoint

RESUME = {'resume': True}


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """Eight iterations; checkpoints after 6 and 8."""
    folder = tmp_path_factory.mktemp('finished')
    train(folder)
    return folder


@pytest.fixture
def work_dir(finished, tmp_path):
    """A copy of :func:`finished` in another place than its pointer says, without its records."""
    folder = tmp_path / 'moved'
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns('record*'))
    (folder / 'last_checkpoint').write_text('/elsewhere/iter_8.pth')
    return folder


@pytest.mark.parametrize('damage', [
    lambda path: path.write_bytes(b''),
    lambda path: path.write_bytes(path.read_bytes()[:-100]),
    lambda path: path.unlink(),
])
def test_damaged_newest_falls_back_and_says_so(finished, work_dir, monkeypatch, damage):
    said = []
    monkeypatch.setattr(MMLogger, 'warning', lambda self, text, *args: said.append(text))
    newest = work_dir / 'iter_8.pth'
    damage(newest)
    train(work_dir, options=RESUME)
    said = [text for text in said if 'resuming' in text]
    assert len(said) == 1 and '\n' not in said[0]
    assert f'{newest}: ' in said[0] and f'resuming from {work_dir}/iter_6.pth' in said[0]
    for part in ('state_dict', 'optimizer'):
        assert_same(*(read_checkpoint(folder / 'iter_8.pth')[part] for folder in (finished, work_dir)))


def test_nothing_valid_is_an_error_not_a_new_start(work_dir):
    for path in work_dir.glob('*.pth'):
        path.write_bytes(b'PK')
    with pytest.raises(CheckpointError, match='none of the checkpoints can be read: .*iter_8.pth.*iter_6.pth'):
        train(work_dir, options=RESUME)


def test_no_checkpoint_at_all_starts_anew(tmp_path):
    assert train(tmp_path, options={**RESUME, 'train_cfg.max_iters': 1}).iter == 1


def test_checkpoints_of_an_earlier_run_do_not_win_over_the_pointer(work_dir):
    # A second training in the same folder has come to iteration 6, an older one to 8.
    (work_dir / 'last_checkpoint').write_text('/elsewhere/iter_6.pth')
    runner = AdaptationRunner.from_cfg(toy_config(str(work_dir), options=RESUME))
    seen = []
    runner.resume = lambda path: seen.append(path)
    runner.load_or_resume()
    assert seen == [f'{work_dir}/iter_6.pth']


def test_each_missing_part_is_refused(finished, tmp_path):
    checkpoint = read_checkpoint(finished / 'iter_6.pth')
    optional = {'cfg', 'experiment_name', 'time', 'mmengine_version', 'dataset_meta'}
    paths = [('meta', key) for key in checkpoint['meta'] if key not in optional] + [(key, ) for key in checkpoint]
    paths += [('state_dict', key) for key in checkpoint['state_dict']]
    paths += [('optimizer', 'state'), ('optimizer', 'param_groups'), ('optimizer', 'param_groups', 0, 'lr')]
    paths += [('param_schedulers', 1), *(('param_schedulers', 0, key) for key in checkpoint['param_schedulers'][0])]
    paths += [('message_hub', key) for key in checkpoint['message_hub']]
    assert ('state_dict', 'teacher.network.decode_head.conv_seg.weight') in paths
    assert ('state_dict', 'iteration') in paths
    runner = AdaptationRunner.from_cfg(toy_config(str(tmp_path)))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    for path in paths:
        broken = read_checkpoint(finished / 'iter_6.pth')
        parent = broken
        for key in path[:-1]:
            parent = parent[key]
        del parent[path[-1]]
        write_checkpoint(broken, tmp_path / 'broken.pth')
        with pytest.raises(CheckpointError, match='broken.pth: ') as error:
            runner.resume(str(tmp_path / 'broken.pth'))
        assert '\n' not in str(error.value)
        if len(path) == 2 and path[0] in ('meta', 'state_dict', 'message_hub'):
            assert path[-1] in str(error.value)
    runner.resume(str(finished / 'iter_6.pth'))
    assert runner.iter == 6


@pytest.mark.parametrize('change, named', [
    ({'model.segmentor.decode_head.num_classes': 5}, r'num_classes'),
    ({'model.teacher': None, 'model.objectives': [dict(type='SourceSupervision')]}, 'teacher.network.* unknown'),
    ({'optim_wrapper.optimizer': dict(type='SGD', lr=0.1)}, 'optimizer'),
    ({'param_scheduler': [dict(type='PolyLR', power=1.0, begin=0, end=8, by_epoch=False)]}, 'param_scheduler'),
])
def test_checkpoint_of_another_config_is_refused(work_dir, change, named):
    with pytest.raises((CheckpointError, ValueError), match=named):
        train(work_dir, options={**RESUME, **change})


def test_other_class_count_is_named_on_load(finished, tmp_path):
    checkpoint = read_checkpoint(finished / 'iter_8.pth')
    name = 'student.decode_head.conv_seg.weight'
    checkpoint['state_dict'][name] = torch.zeros(5, *checkpoint['state_dict'][name].shape[1:])
    write_checkpoint(checkpoint, tmp_path / 'five.pth')
    shapes = rf'{name} \[5, 8, 1, 1\] instead of \[4, 8, 1, 1\]'
    with pytest.raises(CheckpointError, match=f'five.pth: does not fit .*{shapes}'):
        train(tmp_path / 'run', options={'load_from': str(tmp_path / 'five.pth')})


def test_load_from_starts_a_new_training_with_these_weights(finished, tmp_path):
    runner = AdaptationRunner.from_cfg(toy_config(str(tmp_path), options={'load_from': str(finished / 'iter_8.pth'),
                                                                         'train_cfg.max_iters': 0}))
    runner.train()
    weights = read_checkpoint(finished / 'iter_8.pth')['state_dict']
    assert int(runner.model.iteration) == 0 and int(weights['iteration']) == 8
    assert torch.equal(runner.model.student.decode_head.conv_seg.weight, weights['student.decode_head.conv_seg.weight'])


def test_foreign_weights_are_refused_for_evaluation(finished, tmp_path):
    weights = read_checkpoint(finished / 'iter_8.pth')['state_dict']
    plain = {name.removeprefix('student.'): value for name, value in weights.items() if name.startswith('student.')}
    write_checkpoint({'state_dict': plain}, tmp_path / 'plain.pth')
    options = {'load_from': str(tmp_path / 'plain.pth')}
    with pytest.raises(CheckpointError, match='plain.pth: does not fit the UDAWrapper'):
        AdaptationRunner.from_cfg(toy_config(str(tmp_path), options=options)).val()
    del weights['student.decode_head.conv_seg.weight']
    write_checkpoint({'state_dict': weights}, tmp_path / 'incomplete.pth')
    options = {'load_from': str(tmp_path / 'incomplete.pth')}
    with pytest.raises(CheckpointError, match='incomplete.pth: .* 1 .student.decode_head.conv_seg.weight. missing'):
        AdaptationRunner.from_cfg(toy_config(str(tmp_path), options=options)).val()
    options = {'load_from': str(finished / 'iter_8.pth')}
    assert 'mIoU' in AdaptationRunner.from_cfg(toy_config(str(tmp_path), options=options)).val()


def test_full_disk_keeps_the_previous_checkpoint_the_latest(tmp_path):
    def small_disk():
        limit = (tmp_path / 'iter_3.pth').stat().st_size - 4000
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    train(tmp_path, options={'train_cfg.max_iters': 3})
    before = (tmp_path / 'iter_3.pth').read_bytes()
    assert train_in_child(tmp_path, small_disk, options=RESUME) == 1
    assert (tmp_path / 'iter_3.pth').read_bytes() == before
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_3.pth')
    assert not list(tmp_path.glob('.*')) and not (tmp_path / 'iter_6.pth').exists()


@pytest.mark.parametrize('keep', [1, 2])
def test_old_checkpoints_are_deleted_last(tmp_path, monkeypatch, keep):
    steps, unlink, replace = [], os.unlink, os.replace
    monkeypatch.setattr(os, 'replace', lambda one, other: (steps.append(os.path.basename(other)), replace(one, other)))
    monkeypatch.setattr(os, 'unlink', lambda path, **kwargs: (steps.append(f'-{os.path.basename(path)}'),
                                                              unlink(path, **kwargs)))
    train(tmp_path, max_iters=3, save_interval=1, options={'default_hooks.checkpoint.max_keep_ckpts': keep})
    expected = []
    for n in (1, 2, 3):
        expected += [f'iter_{n}.pth', 'last_checkpoint'] + ([f'-iter_{n - keep}.pth'] if n > keep else [])
    assert [step for step in steps if ('iter_' in step or 'last' in step) and 'tmp' not in step] == expected
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == [f'iter_{n}.pth' for n in range(4 - keep, 4)]


def test_best_checkpoint_is_replaced_after_the_new_one_is_there(tmp_path):
    options = {'default_hooks.checkpoint.save_best': 'aAcc', 'train_cfg.val_interval': 1, 'train_cfg.max_iters': 6,
               'optim_wrapper.optimizer.lr': 0.05}
    runner = train(tmp_path, options=options)
    best = list(tmp_path.glob('best_*.pth'))
    assert [str(path) for path in best] == [runner.message_hub.get_info('best_ckpt')]
    assert 'optimizer' not in read_checkpoint(best[0])
    # The state after validation is saved again with the new best score; it is still a state that can be continued.
    train(tmp_path, options={**options, 'resume': True, 'train_cfg.max_iters': 7})


def test_checkpoint_between_two_updates_is_refused(tmp_path):
    with pytest.raises(ValueError, match='interval=3 has to be a multiple of optim_wrapper.accumulative_counts=2'):
        train(tmp_path, options={'optim_wrapper.accumulative_counts': 2})


def test_unsafe_checkpoint_needs_the_flag(finished, tmp_path):
    checkpoint = read_checkpoint(finished / 'iter_8.pth')
    torch.save(dict(checkpoint, extra=Recorder('x')), tmp_path / 'objects.pth')
    options = {'load_from': str(tmp_path / 'objects.pth'), 'train_cfg.max_iters': 0}
    with pytest.raises(CheckpointError, match='objects.pth: holds an object .*Recorder.*allow_unsafe_checkpoints=True'):
        train(tmp_path, options=options)
    train(tmp_path, options={**options, 'allow_unsafe_checkpoints': True})


def test_run_goes_on_after_fallback_as_if_nothing_had_happened(finished, tmp_path):
    train(tmp_path, options={'train_cfg.max_iters': 6})
    (tmp_path / 'iter_6.pth').write_bytes(b'')
    train(tmp_path, options=RESUME)
    assert_same_run(finished, tmp_path)
