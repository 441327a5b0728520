"""The record of a training is that of its iterations, however often it was stopped, and changes nothing of it."""
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_training import (DEGRADED, TWO_SCALES, ToyPairs, ToyTest, assert_same_run, records, toy_config, train,
                          train_in_child, train_in_children)

from mmseg_cicld.engine import AdaptationRunner, read_checkpoint
from mmseg_cicld.visualization import ReportHook
from mmseg_cicld.visualization.training_record import TrainingRecord, read_record

HOOK = {'default_hooks.report': dict(type='ReportHook', points=3)}  # values after 3, 6 and 8 of 8 iterations
NO_VALIDATION = {'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None}


@pytest.fixture(scope='module')
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('straight')
    train(folder, options=HOOK)
    return folder


def _timeless(record: TrainingRecord) -> dict:
    plain = record.plain()
    assert plain.pop('seconds') > 0 and plain['run'].pop('config')  # named by the time, since there is no file
    return plain


def test_values_are_those_of_the_iterations(straight):
    record, lines = read_record(straight), records(straight)
    assert record.iterations == 8 and record.classes == list(ToyPairs.METAINFO['classes'])
    for name in ('loss', 'source.decode.loss_ce', 'mix.decode.loss_ce'):
        values = [float.fromhex(line[name]) for line in lines]
        for at, window in {3: values[:3], 6: values[3:6], 8: values[6:]}.items():
            assert record.losses[name][at] == pytest.approx(np.mean(window), rel=1e-12)
    assert record.confident_share == {at: float.fromhex(lines[at - 1]['mix.confident_share']) for at in (3, 6, 8)}
    # The recorder of the toy looks after the schedules have gone on, so at the rate of the iteration to come.
    assert record.learning_rate == pytest.approx({at: lines[at - 2]['lr'] for at in (3, 6, 8)})
    assert set(record.miou) == set(record.iou) == {4, 8}
    for at, iou in record.iou.items():
        assert np.mean([value for value in iou if value is not None]) == pytest.approx(record.miou[at], abs=0.006)
    assert record.run['target'] and record.run['threshold'] == 0.255
    assert set(record.agreement) == {3, 6, 8} and all(sum(shares) == pytest.approx(1)
                                                      for shares in record.class_shares.values())


def test_a_report_and_the_last_step_are_written(straight):
    assert 'SourceSupervision, ClassMixSelfTraining' in (straight / 'report.html').read_text()
    with np.load(straight / 'report/last_step.npz') as kept:
        assert {'source_image', 'source_label', 'target_image', 'pseudo_label', 'pseudo_confidence',
                'mixed_image'} <= set(kept.files)
        assert kept['pseudo_confidence'].min() >= 0.25  # of four classes, the most likely one


@pytest.mark.parametrize('method', [{'model.segmentor.backbone.norm': 'BatchNorm2d'}, TWO_SCALES | DEGRADED],
                         ids=['batch norm', 'hrda, mic and dida'])
def test_training_is_bitwise_as_without(tmp_path, method):
    options = method | {'train_cfg.max_iters': 5}
    train(tmp_path / 'without', options=options)
    train(tmp_path / 'with', options=options | HOOK | {'default_hooks.report.points': 60})
    assert_same_run(tmp_path / 'without', tmp_path / 'with', last=5)
    assert len(read_record(tmp_path / 'with').agreement) == 5


def test_resume_after_kill_completes_the_record(straight, tmp_path):
    kill = {'custom_hooks.0.signal_at': 6}  # the last checkpoint is that of iteration 4, in the middle of a mean
    assert train_in_child(tmp_path, save_interval=4, options=HOOK | kill) == -signal.SIGKILL
    (tmp_path / 'report/curves.json').unlink()  # the record goes with the checkpoint
    train(tmp_path, save_interval=4, options=HOOK | {'resume': True})
    assert _timeless(read_record(tmp_path)) == _timeless(read_record(straight))


def test_what_was_recorded_after_the_checkpoint_is_not_there_twice(tmp_path):
    every = HOOK | {'default_hooks.report.points': 8}
    assert train_in_child(tmp_path, options=every | {'custom_hooks.0.signal_at': 6}) == -signal.SIGKILL
    assert max(read_record(tmp_path).losses['loss']) == 5
    train(tmp_path, options=every | {'resume': True, 'train_cfg.max_iters': 4})
    record = read_record(tmp_path)
    assert list(record.losses['loss']) == [1, 2, 3, 4] and record.iterations == 4


def test_weights_of_another_training_bring_no_record(straight, tmp_path):
    train(tmp_path, options=HOOK | {'load_from': str(straight / 'iter_8.pth'), 'train_cfg.max_iters': 2})
    assert set(read_record(tmp_path).losses['loss']) == {1, 2}


def test_two_processes_record_what_one_does(tmp_path):
    # Without what draws for each process on its own; three validation images, of which two processes see four.
    options = HOOK | {'model.segmentor.backbone.dropout': 0., 'model.segmentor.decode_head.dropout_ratio': 0.,
                      'train_cfg.max_iters': 3}
    train(tmp_path / 'one', batch_size=2, options=options)
    assert train_in_children(tmp_path / 'two', 2, batch_size=1, options=options) == [0, 0]
    one, two = read_record(tmp_path / 'one'), read_record(tmp_path / 'two')
    assert two.run['processes'] == 2 and 'of the first of 2 processes' in (tmp_path / 'two/report.html').read_text()
    for name in ('confident_share', 'confidence', 'agreement', 'miou'):
        assert getattr(two, name) == pytest.approx(getattr(one, name), abs=2e-3), name
    assert two.iou[3] == pytest.approx(one.iou[3], abs=0.05)
    assert two.class_shares[3] == pytest.approx(one.class_shares[3], abs=2e-3)


def test_a_plain_segmentor_and_a_training_without_validation(tmp_path):
    segmentor = toy_config(str(tmp_path)).model.segmentor
    train(tmp_path, options=HOOK | NO_VALIDATION | {
        'model': dict(_delete_=True, **segmentor), 'train_cfg.max_iters': 2,
        'train_dataloader.dataset': dict(_delete_=True, type='ToyLabelled')})
    record = read_record(tmp_path)
    assert record.run['model'] == 'EncoderDecoder' and not record.run['target']
    assert set(record.losses) == {'loss', 'decode.loss_ce'} and not record.miou and not record.agreement
    with np.load(tmp_path / 'report/last_step.npz') as kept:
        assert kept['source_image'].shape == (2, 3, 32, 32) and kept['source_label'].shape == (2, 32, 32)
    page = (tmp_path / 'report.html').read_text()
    assert 'no target images were trained on' in page and 'no labelled target images were validated on' in page


def test_a_source_only_training_has_no_target(tmp_path):
    train(tmp_path, options=HOOK | {'model.objectives': [dict(type='SourceSupervision')], 'model.teacher': None,
                                    'train_cfg.max_iters': 2})
    record = read_record(tmp_path)
    # The toy data have a target all the same, of which the student alone tells.
    assert set(record.confidence) == {1, 2} and not record.agreement and not record.confident_share


def test_checkpoints_with_a_record_hold_no_code(straight):
    state = read_checkpoint(straight / 'iter_8.pth')['report']
    assert json.loads(json.dumps(state['record']['losses']))['loss']['3'] > 0


def test_another_training_in_the_folder_begins_anew(straight, tmp_path):
    train(tmp_path, options=HOOK | {'train_cfg.max_iters': 2})
    (tmp_path / 'report/examples.npz').touch()
    runner = AdaptationRunner.from_cfg(toy_config(str(tmp_path), options=HOOK | {'train_cfg.max_iters': 1}))
    runner.train()
    assert set(read_record(tmp_path).losses['loss']) == {1}
    assert not (tmp_path / 'report/examples.npz').exists()
    assert runner.model.kept_step is None and runner.model.kept_statistics is None


def test_validation_alone_leaves_the_record_as_it_is(straight):
    before = (straight / 'report/curves.json').read_bytes()
    runner = AdaptationRunner.from_cfg(toy_config(str(straight), options=HOOK | {
        'load_from': str(straight / 'iter_8.pth'), 'train_dataloader': None, 'train_cfg': None, 'optim_wrapper': None,
        'param_scheduler': None}))
    assert 'mIoU' in runner.val()
    assert (straight / 'report/curves.json').read_bytes() == before


def test_refuses_a_record_without_values():
    with pytest.raises(ValueError, match='points=0'):
        ReportHook(points=0)


def test_scores_of_each_class_are_those_of_mmseg(straight):
    runner = AdaptationRunner.from_cfg(toy_config(str(straight / 'again'), options={
        'load_from': str(straight / 'iter_8.pth'), 'train_dataloader': None, 'train_cfg': None, 'optim_wrapper': None,
        'param_scheduler': None}))
    runner.val()
    model, dataset = runner.model.eval(), ToyTest()
    intersection, union = np.zeros(4), np.zeros(4)
    with torch.no_grad():
        for index in range(len(dataset)):
            item = dataset[index]
            sample, = model.test_step(dict(inputs=[item['inputs']], data_samples=[item['data_samples']]))
            predicted, label = (part.data[0].numpy() for part in (sample.pred_sem_seg, sample.gt_sem_seg))
            for number in range(4):
                hits = (predicted == number) & (label == number)
                intersection[number] += hits.sum()
                union[number] += ((predicted == number) | (label == number)).sum()
    assert read_record(straight).iou[8] == pytest.approx((100 * intersection / union).tolist())
