"""Checkpoints with only what was trained: small, resumed exactly, whole again from the very same source alone."""
import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from test_tuned_training import LAST, SOMA, VIT, tuned
from toy_training import assert_same_run, toy_config, train

from mmseg_cicld.engine import AdaptationRunner, CheckpointError, read_checkpoint
from mmseg_cicld.engine.checkpoint_writing import on_cpu
from mmseg_cicld.engine.evaluated_network import load_evaluated
from mmseg_cicld.engine.exporting import exported_segmentor
from mmseg_cicld.engine.trained_only import read_whole_checkpoint

SMALL = {'default_hooks.checkpoint.trained_only': True}


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A file of published weights of the backbone; its path is short, since yapf takes long over configs with long ones."""
    init_default_scope('mmseg')
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    backbone = MODELS.build(copy.deepcopy(VIT))
    backbone.init_weights()
    torch.save(backbone.state_dict(), 'published.pth')
    return 'published.pth'


def options(source, tuning: dict, **more) -> dict:
    pretrained = dict(type='Pretrained', checkpoint=source)
    return tuned(tuning) | {'model.segmentor.backbone.backbone': dict(VIT, init_cfg=pretrained)} | more


@pytest.mark.parametrize('tuning', [SOMA, LAST], ids=['soma', 'last'])
def test_resume_is_exact_from_what_was_trained(tmp_path, source, tuning):
    straight, stopped, whole = tmp_path / 'straight', tmp_path / 'stopped', tmp_path / 'whole'
    train(straight, options=options(source, tuning, **SMALL))
    train(stopped, options=options(source, tuning, **SMALL, **{'train_cfg.max_iters': 3}))
    train(stopped, options=options(source, tuning, **SMALL, resume=True))
    assert_same_run(straight, stopped)
    train(whole, options=options(source, tuning))
    small, large = read_checkpoint(straight / 'iter_8.pth'), read_checkpoint(whole / 'iter_8.pth')
    left = {name for name in large['state_dict'] if name not in small['state_dict']}
    assert left and all('.backbone.backbone.' in name for name in left) and set(small['state_dict']) <= set(large['state_dict'])
    assert not any('layers.2' in name for name in left) if tuning is LAST else len(left) == 2 * 38 + 2
    for name, value in small['state_dict'].items():
        assert torch.equal(value, large['state_dict'][name])


def test_evaluation_and_export_get_the_frozen_weights_from_the_source(tmp_path, source):
    for name, more in (('small', SMALL), ('whole', {})):
        train(tmp_path / name, options=options(source, SOMA, **more, **{'train_cfg.max_iters': 2}))
    config = toy_config(str(tmp_path / 'test'), options=options(source, SOMA, **SMALL))
    files = [tmp_path / name / 'iter_2.pth' for name in ('small', 'whole')]
    assert files[0].stat().st_size < 0.9 * files[1].stat().st_size
    states = [load_evaluated(config, file).state_dict() for file in files]
    states += [exported_segmentor(config, read_checkpoint(file), file)[1].state_dict() for file in files]
    for one, other in (states[:2], states[2:]):
        assert list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)
    scores = []
    for name, file in zip(('a', 'b'), files):
        tested = Config(copy.deepcopy(config.to_dict()))
        tested.update(test_dataloader=config.val_dataloader, test_evaluator=config.val_evaluator,
                      test_cfg=dict(type='TestLoop'), load_from=str(file), work_dir=str(tmp_path / name),
                      experiment_name=f'tested_{name}')
        scores.append(AdaptationRunner.from_cfg(tested).test())
    assert scores[0] == scores[1]


def test_another_source_is_refused(tmp_path, source):
    work_dir = tmp_path / 'run'
    train(work_dir, options=options(source, SOMA, **SMALL, **{'train_cfg.max_iters': 3}))
    state = torch.load(source, weights_only=True)
    state['layers.1.ln1.bias'][3] += 1e-3
    torch.save(state, source)
    with pytest.raises(CheckpointError, match=r'iter_3.pth: holds only what was trained, and the frozen weights that '
                                              r'student.backbone.backbone gets from its source .* are not those') as error:
        train(work_dir, options=options(source, SOMA, **SMALL, resume=True))
    assert '\n' not in str(error.value)
    bare = {'model.segmentor.backbone': copy.deepcopy(VIT), 'model.segmentor.decode_head.in_channels': 16}
    with pytest.raises(CheckpointError, match='has no TunedBackbone: use the config of the training'):
        train(tmp_path / 'other', options=bare | {'load_from': str(work_dir / 'iter_3.pth')})
    with pytest.raises(CheckpointError, match='cannot be handed on without the model'):
        read_whole_checkpoint(work_dir / 'iter_3.pth')


def test_it_is_refused_where_nothing_is_frozen(tmp_path):
    with pytest.raises(ValueError, match='trained_only=True leaves out what a tuned backbone does not train'):
        train(tmp_path, options=SMALL)


def test_what_is_shared_is_once_in_a_file(tmp_path):
    model = MODELS.build(toy_config('none', options=tuned(dict(type='FrozenTuning'))).model)
    state = on_cpu(model.state_dict())
    name = 'backbone.backbone.layers.0.ffn.layers.1.weight'
    assert state[f'student.{name}'] is state[f'teacher.network.{name}']
    torch.save(state, tmp_path / 'once.pth')
    torch.save({name: value.clone() for name, value in state.items()}, tmp_path / 'twice.pth')
    assert (tmp_path / 'once.pth').stat().st_size < 0.75 * (tmp_path / 'twice.pth').stat().st_size
