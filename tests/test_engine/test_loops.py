"""Trainings count iterations; what counts epochs is refused by its key, before the first of them."""
import json

import pytest
from toy_training import toy_config, train

from mmseg_cicld.engine import AdaptationRunner

EPOCHS = 'but training samples come from an endless stream without epochs: set train_cfg=.*ExactResumeTrainLoop'


@pytest.mark.parametrize('change, said', [
    ({'train_cfg': dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=1)},
     f'type=EpochBasedTrainLoop, {EPOCHS}'),
    ({'train_cfg': dict(_delete_=True, by_epoch=True, max_epochs=1)}, f'by_epoch=True, {EPOCHS}'),
    ({'default_hooks.checkpoint.by_epoch': True}, 'default_hooks.checkpoint.by_epoch is True .*by_epoch=False'),
    ({'default_hooks.checkpoint': dict(_delete_=True, type='CheckpointHook', interval=3)},
     'default_hooks.checkpoint.by_epoch is True .as it is if it is not given'),
    ({'param_scheduler.1.by_epoch': True}, r'param_scheduler\[1\].by_epoch is True')])
def test_epochs_are_refused_by_their_key(tmp_path, change, said):
    with pytest.raises(ValueError, match=said):
        train(tmp_path, options=change)
    assert not list(tmp_path.glob('*.pth')) and not (tmp_path / 'record.jsonl.rank0').exists()


def test_a_training_gives_its_model(tmp_path):
    runner = AdaptationRunner.from_cfg(toy_config(str(tmp_path), options={'train_cfg.max_iters': 1}))
    assert runner.train() is runner.model and (runner.iter, runner.epoch) == (1, 0)


def test_validation_between_two_updates_is_refused(tmp_path):
    """A signal in it would find gradients that no checkpoint holds."""
    options = {'optim_wrapper.accumulative_counts': 2, 'default_hooks.checkpoint.interval': 4,
               'train_cfg.val_interval': 3}
    with pytest.raises(ValueError, match='train_cfg.val_interval=3 has to be a multiple of .*accumulative_counts=2'):
        train(tmp_path, options=options)


def test_validations_become_as_frequent_as_dynamic_intervals_say(tmp_path):
    runner = train(tmp_path, options={'train_cfg.dynamic_intervals': [(6, 1)]})  # every 4 iterations before
    log = (tmp_path / runner.timestamp / 'vis_data/scalars.json').read_text()
    assert [line['step'] for line in map(json.loads, log.splitlines()) if 'mIoU' in line] == [4, 5, 6, 7, 8]
