"""A resume continues the training that wrote the checkpoint: what differs is named, and goes on only if asked for."""
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn
from toy_training import ToyBackbone, assert_same, toy_config, train

from mmseg_cicld.engine import CheckpointError, read_checkpoint, write_checkpoint
from mmseg_cicld.engine.resumed_config import check_config, config_differences, config_text


@MODELS.register_module()
class WithIdlePart(ToyBackbone):
    """Holds a layer that no forward pass uses."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Conv2d(8, 8, 1)


@pytest.fixture(scope='module')
def stopped(tmp_path_factory):
    """Six iterations; the checkpoint is the last one."""
    folder = tmp_path_factory.mktemp('stopped')
    train(folder, options={'train_cfg.max_iters': 6})
    return folder / 'iter_6.pth'


def _resume(checkpoint, folder, **options):
    return train(folder, options={'resume': True, 'load_from': str(checkpoint), 'train_cfg.max_iters': 7, **options})


@pytest.mark.parametrize('key, value, named', [
    ('model.objectives.1.threshold', 0.1, r'model\.objectives\.1\.threshold=0\.255, now 0\.1'),
    ('train_dataloader.dataset.length', 4, r'train_dataloader\.dataset\.length=nothing, now 4'),
    ('optim_wrapper.optimizer.lr', 0.5, r'optim_wrapper\.optimizer\.lr=0\.001, now 0\.5'),
    ('model.teacher.momentum', 0.5, r'model\.teacher\.momentum=0\.9, now 0\.5'),
])
def test_what_changes_the_training_is_named_and_needs_to_be_asked_for(stopped, tmp_path, key, value, named):
    with pytest.raises(CheckpointError, match=named) as error:
        _resume(stopped, tmp_path, **{key: value})
    assert 'allow_changed_resume=True' in str(error.value) and '\n' not in str(error.value)
    assert _resume(stopped, tmp_path / 'allowed', **{key: value, 'allow_changed_resume': True}).iter == 7


def test_another_schedule_is_refused_even_if_asked_for(stopped, tmp_path):
    with pytest.raises(CheckpointError, match=r'param_scheduler\.1\.power=1\.0, now 2\.0.*cannot change midway'):
        _resume(stopped, tmp_path, **{'param_scheduler.1.power': 2.0, 'allow_changed_resume': True})


def test_what_is_harmless_may_change(stopped, tmp_path):
    harmless = {'train_dataloader.num_workers': 1, 'log_level': 'ERROR', 'train_cfg.val_interval': 2,
                'model.segmentor.test_cfg.mode': 'whole', 'model.segmentor.backbone.init_cfg': None}
    buildable = {key: value for key, value in harmless.items() if 'backbone' not in key}
    assert _resume(stopped, tmp_path, **buildable).iter == 7
    before = toy_config('a')
    now = toy_config('b', options=harmless)
    assert config_differences(config_text(before), config_text(now)) == []


def test_one_folder_by_two_names_is_no_difference(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, same, other = (config_text(Config(dict(train_dataloader=dict(dataset=dict(data_root=root)))))
                        for root in ('data/street', str(tmp_path / 'data/street'), 'data/other'))
    assert config_differences(one, same) == []
    assert len(config_differences(one, other)) == 1


def test_the_config_of_a_checkpoint_is_not_executed(tmp_path):
    text = f'train_cfg = __import__("os").system("touch {tmp_path}/marker")\nmodel = dict(a=1)\n'
    assert len(config_differences(text, 'model = dict(a=1)\n')) == 1
    assert not (tmp_path / 'marker').exists()


def _tampered(stopped, path, change):
    checkpoint = read_checkpoint(stopped)
    change(checkpoint['optimizer']['state'])
    write_checkpoint(checkpoint, path)
    return path


@pytest.mark.parametrize('change, named', [
    (lambda state: state.pop(3), r'1 \(student\.backbone\.norm\.bias\)'),
    (lambda state: state[3].pop('exp_avg'), r'1 \(student\.backbone\.norm\.bias \(exp_avg\)\)'),
    (lambda state: state[0].update(exp_avg_sq=torch.zeros(8)), r'1 \(student\.backbone\.conv\.weight \(shape\)\)'),
    (lambda state: state.clear(), r'lacks what the optimizer remembers of \d+ \(student\.backbone\.conv\.weight, '),
])
def test_lost_moments_are_named_and_begin_at_zero_only_if_asked_for(stopped, tmp_path, change, named):
    path = _tampered(stopped, tmp_path / 'tampered.pth', change)
    with pytest.raises(CheckpointError, match=named):
        _resume(path, tmp_path / 'refused')
    runner = _resume(path, tmp_path / 'allowed', allow_changed_resume=True)
    steps = [int(entry['step']) for entry in runner.optim_wrapper.state_dict()['state'].values() if entry]
    assert 1 in steps and set(steps) <= {1, 7}, 'what was lost has made one step, all else seven'


def test_a_parameter_that_never_had_a_gradient_has_lost_nothing(tmp_path):
    """The idle layer stays without gradients; the checkpoint says so and a resume accepts it."""
    options = {'model.objectives': [dict(type='SourceSupervision')], 'model.teacher': None,
               'model.segmentor.backbone.type': 'WithIdlePart', 'train_cfg.max_iters': 2}
    train(tmp_path, save_interval=2, options=options)
    saved = read_checkpoint(tmp_path / 'iter_2.pth')['optimizer']
    assert [number for number, entry in saved['state'].items() if not entry] == [4, 5]
    assert train(tmp_path, save_interval=2, options={**options, 'resume': True, 'train_cfg.max_iters': 3}).iter == 3


def test_a_changed_learning_rate_keeps_its_share_of_the_schedule(stopped, tmp_path):
    options = {'optim_wrapper.optimizer.lr': 4e-3, 'optim_wrapper.optimizer.weight_decay': 0.5,
               'train_cfg.max_iters': 6}
    same = _resume(stopped, tmp_path / 'same', **{'train_cfg.max_iters': 6})
    changed = _resume(stopped, tmp_path / 'changed', **options, allow_changed_resume=True)
    one, other = same.optim_wrapper.param_groups[0], changed.optim_wrapper.param_groups[0]
    assert other['lr'] == pytest.approx(4 * one['lr']) and other['initial_lr'] == 4e-3
    assert other['weight_decay'] == 0.5 and one['weight_decay'] == 0.01
    assert_same(same.optim_wrapper.state_dict()['state'], changed.optim_wrapper.state_dict()['state'])


GROUPS = {'optim_wrapper.constructor': 'MergedOptimWrapperConstructor',
          'optim_wrapper.paramwise_cfg': dict(custom_keys=dict(head=dict(lr_mult=10.0)))}


def test_several_parameter_groups_go_on_to_the_same_bits(tmp_path):
    """mmengine's wrapper shows one group more than the optimiser has, which holds no parameter."""
    whole = train(tmp_path / 'whole', options={**GROUPS, 'train_cfg.max_iters': 4})
    train(tmp_path / 'parts', options={**GROUPS, 'train_cfg.max_iters': 2})
    parts = train(tmp_path / 'parts', options={**GROUPS, 'train_cfg.max_iters': 4, 'resume': True})
    assert len(whole.optim_wrapper.optimizer.param_groups) == 2
    assert_same(whole.model.state_dict(), parts.model.state_dict())
    assert_same(whole.optim_wrapper.state_dict(), parts.optim_wrapper.state_dict())


def test_a_changed_learning_rate_reaches_several_parameter_groups(tmp_path):
    train(tmp_path, options={**GROUPS, 'train_cfg.max_iters': 2})
    changed = train(tmp_path, options={**GROUPS, 'train_cfg.max_iters': 2, 'optim_wrapper.optimizer.lr': 4e-3,
                                       'resume': True, 'allow_changed_resume': True})
    assert [group['initial_lr'] for group in changed.optim_wrapper.param_groups] == [4e-3, 4e-2, 4e-3]


@pytest.mark.parametrize('count, more', [(5, ''), (7, '; and 2 more')])
def test_five_differences_are_shown_and_the_others_counted(count, more):
    saved, now = (f'model = dict({", ".join(f"key{index}={value}" for index in range(count))})' for value in (1, 2))
    shown = '; '.join(f'model.key{index}=1, now 2' for index in range(5))
    said = check_config(saved, now, 'iter_6.pth', allow_changed=True)
    assert said.startswith(f'iter_6.pth was trained with another config: {shown}{more}. Goes on')
