"""What is not finite on one process reaches weights and checkpoints of none, and a skipped step is no update."""
import copy
import os
import re

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from spoilt_training import ScaledOnCpu, hooks
from torch import nn
from toy_training import assert_same_run, toy_config, train, train_in_children

from mmseg_cicld.engine import CheckpointError, read_checkpoint
from mmseg_cicld.finite_losses import NonFiniteLossError, read_finite
from mmseg_cicld.scaled_steps import update_parameters


@pytest.mark.parametrize('what, wrapper, said', [
    ('images', 'ScaledOnCpu', 'iteration 5: rank 1: .*source.decode.loss_ce=nan'),
    ('images', 'OptimWrapper', 'iteration 5: rank 1: .*source.decode.loss_ce=nan.* Images of this step: source_4.png'),
    ('gradient', 'OptimWrapper', 'iteration 5: rank 0: the gradient of student.decode_head.conv_seg.bias is not '
                                 'finite; rank 1: the gradient of student.decode_head.conv_seg.bias')])
def test_all_processes_stop_with_one_message_and_finite_checkpoints(tmp_path, capfd, what, wrapper, said):
    stop = hooks(dict(type='Spoil', what=what, iteration=5, rank=1)) | {'optim_wrapper.type': wrapper}
    assert train_in_children(tmp_path, 2, batch_size=1, save_interval=1, options=stop) == [1, 1]
    lines = [line for line in capfd.readouterr().err.splitlines() if 'NonFiniteLossError: ' in line]
    assert len(lines) == 2 and lines[0] == lines[1]
    assert re.search(said, lines[0]), lines[0]
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['iter_3.pth', 'iter_4.pth']
    assert all(value.isfinite().all() for value in read_checkpoint(tmp_path / 'iter_4.pth')['state_dict'].values())
    again = {'resume': True, 'custom_hooks': [], 'optim_wrapper.type': wrapper}
    assert train_in_children(tmp_path, 2, batch_size=1, save_interval=1, options=again) == [0, 0]


def test_a_gradient_that_is_not_finite_stops_before_the_step_and_is_resumed_from(tmp_path):
    straight, stopped = tmp_path / 'straight', tmp_path / 'stopped'
    record = [dict(type='Recorder', file=str(stopped / 'record.jsonl'))]
    with pytest.raises(NonFiniteLossError, match=r'iteration 5: the gradient of student.decode_head.conv_seg.bias is '
                                                 r'not finite. Nothing .*source_3.png, source_4.png, target_3.png'):
        train(stopped, options=hooks(*record, dict(type='Spoil', what='gradient', iteration=5)))
    train(stopped, options={'resume': True})
    train(straight)
    assert_same_run(straight, stopped)


@pytest.mark.parametrize('size, refused', [(3e38, False), (torch.inf, True), (-torch.inf, True), (torch.nan, True)])
def test_large_gradients_are_finite_though_their_norm_is_not(size, refused):
    model = nn.Linear(4, 3)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    model.weight.grad = torch.full_like(model.weight, 3e38)
    model.weight.grad[1, 2] = size
    log = dict(loss=torch.tensor(2.5))
    if refused:
        with pytest.raises(NonFiniteLossError, match='iteration 7: the gradient of weight is not .* a.png, b.png'):
            read_finite(log, 7, ['a.png', 'b.png'], model, wrapper)
    else:
        assert read_finite(log, 7, ['a.png'], model, wrapper) == dict(loss=torch.tensor(2.5, dtype=torch.float64))


def test_a_skipped_step_moves_neither_counters_nor_teacher(tmp_path):
    """Iteration 2 is skipped: updates are one behind, and the teacher does not move before iteration 4."""
    states: list[dict] = []

    @HOOKS.register_module(force=True)
    class Watch(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            states.append(copy.deepcopy(runner.model.state_dict()))

    quiet = {'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None, 'optim_wrapper.type': 'ScaledOnCpu'}
    train(tmp_path, max_iters=4, options=quiet | hooks(dict(type='Spoil', what='gradient', iteration=2),
                                                       dict(type='Watch')))
    assert [(int(state['iteration']), int(state['updates']), int(state['teacher_updates'])) for state in states] == [
        (1, 1, 1), (2, 1, 2), (3, 2, 2), (4, 3, 3)]
    name = 'decode_head.conv_seg.weight'
    moved = {network: [not torch.equal(one[f'{network}.{name}'], other[f'{network}.{name}'])
                       for one, other in zip(states, states[1:])] for network in ('student', 'teacher.network')}
    assert moved == {'student': [False, True, True], 'teacher.network': [True, False, True]}


@pytest.mark.parametrize('fused', [False, True])
def test_updates_are_told_from_skipped_steps(fused):
    model = nn.Linear(2, 1)
    wrapper = ScaledOnCpu(optimizer=torch.optim.Adam(model.parameters(), lr=0.1, fused=fused))
    updates, scales = [], []
    for factor in (1., torch.inf, 1.):
        before = model.weight.detach().clone()
        wrapper.backward(wrapper.scale_loss(model(torch.ones(1, 2)).sum() * factor))
        updates.append((update_parameters(wrapper), not torch.equal(before, model.weight)))
        scales.append(wrapper.loss_scaler.get_scale())
    assert updates == [(True, True), (False, False), (True, True)] and scales == [2.**16, 2.**15, 2.**15]


def test_a_scale_without_end_stops_the_training():
    model = nn.Linear(2, 1)
    wrapper = ScaledOnCpu(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(NonFiniteLossError, match='loss scale has fallen to .* every step is skipped'):
        for _ in range(40):
            wrapper.backward(wrapper.scale_loss(model(torch.ones(1, 2)).sum() * torch.nan))
            update_parameters(wrapper)


@pytest.mark.parametrize('processes', [0, 2])
def test_weights_that_are_not_finite_are_not_written(tmp_path, capfd, processes):
    """As after an update that overflows: the loss of the iteration that is saved was finite."""
    name = 'teacher.network.backbone.norm.weight'  # no loss of this iteration shows it
    options = hooks(dict(type='Spoil', what=name, iteration=3, rank=max(processes - 1, 0))) | {
        'model.objectives': [dict(type='SourceSupervision')], 'model.teacher.momentum': 0.9}
    codes = train_in_children(tmp_path, processes, batch_size=1, save_interval=1, options=options)
    assert codes == [1] * max(processes, 1)
    where = ' on rank 1' if processes else ''
    assert f'iter_3.pth: is not written: NaN or infinity in {name} (1 tensors){where}.' in capfd.readouterr().err
    assert os.path.basename((tmp_path / 'last_checkpoint').read_text()) == 'iter_2.pth'
    assert not (tmp_path / 'iter_3.pth').exists()


def test_best_weights_that_are_not_finite_are_not_written(tmp_path):
    """The student that is validated is finite, its teacher is not; the ordinary checkpoint is not due."""
    name = 'teacher.network.backbone.norm.weight'
    options = hooks(dict(type='Spoil', what=name, iteration=2)) | {
        'model.objectives': [dict(type='SourceSupervision')], 'model.teacher.momentum': 0.9,
        'default_hooks.checkpoint.save_best': 'mIoU'}
    with pytest.raises(CheckpointError, match=rf'best_\*_iter_2.pth: is not written: NaN or infinity in {name} '):
        train(tmp_path, val_interval=2, save_interval=100, options=options)
    assert not list(tmp_path.glob('*.pth'))


def test_a_plain_segmentor_leaves_finite_checkpoints_only(tmp_path):
    options = {'model': dict(_delete_=True, **toy_config(str(tmp_path)).model.segmentor), 'val_cfg': None,
               'val_dataloader': None, 'val_evaluator': None, 'train_dataloader.dataset': dict(_delete_=True,
                                                                                               type='ToyLabelled')}

    @HOOKS.register_module(force=True)
    class SpoilPlain(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.iter == 4:
                data_batch['inputs'] = [image * torch.nan for image in data_batch['inputs']]

    with pytest.raises(CheckpointError, match='iter_6.pth: is not written: NaN or infinity in backbone.conv.weight'):
        train(tmp_path, options=options | hooks(dict(type='SpoilPlain')))
    assert read_checkpoint(tmp_path / 'iter_3.pth')['state_dict']['backbone.conv.weight'].isfinite().all()
