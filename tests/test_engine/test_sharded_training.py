"""Backbones that are sharded over two processes (FSDP, gloo): gradients, teacher and checkpoints are those of one."""
import copy

import pytest
import torch
from mmengine.registry import init_default_scope
from test_tuned_training import LORA, SOMA, VIT
from toy_training import TWO_SCALES, assert_same, toy_config, train, train_in_children

from mmseg_cicld.engine import AdaptationRunner, read_checkpoint
from mmseg_cicld.engine.exporting import exported_segmentor
from mmseg_cicld.engine.sharding import check_sharding

# As in test_distributed_training.py, with a transformer; its recorder would write parts.
SHARDED = {
    'fsdp': True, 'custom_hooks': [], 'model.segmentor.decode_head.in_channels': 16,
    'model.segmentor.decode_head.dropout_ratio': 0., 'optim_wrapper.optimizer': dict(type='SGD', lr=0.5, momentum=0.9),
    'param_scheduler': None, 'train_cfg.max_iters': 4, 'train_cfg.val_interval': 2, 'default_hooks.checkpoint.interval': 2,
    'model.objectives': [dict(type='SourceSupervision'), dict(type='OutputSpaceAdversarial', weight=0.1),
                         dict(type='ClassMixSelfTraining', threshold=0.255),
                         dict(type='MaskedConsistency', block=8, threshold=0.255, own_teacher=dict(momentum=0.5))]}
WHOLE = SHARDED | {'fsdp': False}


@pytest.fixture(autouse=True)
def _mmseg():
    init_default_scope('mmseg')


def network(tuning: dict | None) -> dict:
    vit = dict(VIT, drop_path_rate=0.)
    backbone = vit if tuning is None else dict(type='TunedBackbone', backbone=vit, tuning=tuning)
    return {'model.segmentor.backbone': copy.deepcopy(backbone)}


@pytest.mark.parametrize('tuning', [None, SOMA], ids=['full', 'soma'])
def test_two_processes_with_parts_do_what_one_does(tmp_path, tuning):
    one, two = tmp_path / 'one', tmp_path / 'two'
    train(one, batch_size=2, options=WHOLE | network(tuning))
    assert train_in_children(two, 2, batch_size=1, options=SHARDED | network(tuning)) == [0, 0]
    alone, parts = (read_checkpoint(folder / 'iter_4.pth') for folder in (one, two))
    assert list(alone['state_dict']) == list(parts['state_dict'])
    start = AdaptationRunner.from_cfg(toy_config(str(tmp_path / 'start'), options=WHOLE | network(tuning))).model
    for name, value in alone['state_dict'].items():
        torch.testing.assert_close(parts['state_dict'][name], value, rtol=1e-4, atol=1e-5,
                                   msg=lambda text: f'{name}: {text}')
    moved = 'backbone.added.layers.2.ffn.layers.0.0.A_RI' if tuning else 'backbone.layers.2.ffn.layers.0.0.weight'
    for prefix in ('student', 'teacher.network', 'objectives.3.teacher.network'):
        name = f'{prefix}.{moved}'
        assert (alone['state_dict'][name] - start.state_dict()[name]).abs().max() > 1e-4, name
    assert alone['optimizer']['param_groups'] == parts['optimizer']['param_groups']
    for number, entry in alone['optimizer']['state'].items():
        for key, value in entry.items():
            torch.testing.assert_close(parts['optimizer']['state'][number][key], value, rtol=1e-3, atol=1e-4)


def test_two_scales_in_bfloat16_with_accumulated_gradients(tmp_path):
    """HRDA runs its backbone twice in a pass, and gradients of two iterations wait in their parts."""
    more = TWO_SCALES | {'optim_wrapper.type': 'AutocastOptimWrapper', 'optim_wrapper.dtype': 'bfloat16',
                         'optim_wrapper.accumulative_counts': 2, 'model.objectives': SHARDED['model.objectives']}
    one, two = tmp_path / 'one', tmp_path / 'two'
    train(one, batch_size=2, options=WHOLE | network(None) | more)
    assert train_in_children(two, 2, batch_size=1, options=SHARDED | network(None) | more) == [0, 0]
    start = AdaptationRunner.from_cfg(toy_config(str(tmp_path / 'start'), options=WHOLE | network(None) | more)).model
    name = 'student.backbone.layers.2.ffn.layers.0.0.weight'
    alone, parts = (read_checkpoint(folder / 'iter_4.pth')['state_dict'][name] - start.state_dict()[name]
                    for folder in (one, two))
    assert alone.abs().max() > 1e-4
    assert torch.nn.functional.cosine_similarity(alone.flatten(), parts.flatten(), dim=0) > 0.95
    assert parts.norm() == pytest.approx(float(alone.norm()), rel=0.1)


def test_resume_is_exact_with_parts_and_one_process_goes_on_with_their_checkpoint(tmp_path):
    straight, stopped = tmp_path / 'straight', tmp_path / 'stopped'
    options = SHARDED | network(LORA) | {'optim_wrapper.optimizer': dict(type='AdamW', lr=1e-3)}
    assert train_in_children(straight, 2, batch_size=1, options=options) == [0, 0]
    assert train_in_children(stopped, 2, batch_size=1, options=options | {'train_cfg.max_iters': 2}) == [0, 0]
    small = {'default_hooks.checkpoint.trained_only': True}
    assert train_in_children(stopped, 2, batch_size=1, options=options | small | {'resume': True}) == [0, 0]
    one, other = (read_checkpoint(folder / 'iter_4.pth') for folder in (straight, stopped))
    names = list(other['state_dict'])
    left = set(one['state_dict']) - set(names)
    assert left and all('.backbone.backbone.' in name for name in left), 'only what is frozen is left out'
    assert_same({name: one['state_dict'][name] for name in names}, dict(other['state_dict']))
    assert_same(one['optimizer'], other['optimizer'])
    for name, value in one['state_dict'].items():  # frozen parts of all networks are the student's, to the bit
        if name.startswith('teacher.network.backbone.backbone.'):
            assert torch.equal(value, one['state_dict'][name.replace('teacher.network', 'student')]), name
    config = toy_config(str(tmp_path), options=WHOLE | network(LORA))
    assert exported_segmentor(config, one, 'iter_4.pth', 'teacher')[0].model.backbone.type == 'VisionTransformer'
    more = {'fsdp': False, 'train_cfg.max_iters': 5, 'resume': True, 'load_from': str(straight / 'iter_4.pth'),
            'allow_changed_resume': True}
    assert train(tmp_path / 'alone', batch_size=2, options=options | more).iter == 5


def test_what_it_cannot_be_trained_with_is_one_line(tmp_path):
    with pytest.raises(ValueError, match='fsdp=True shards backbones over several processes, and this is one'):
        train(tmp_path, options=SHARDED)
    for wrong, message in [(dict(optim_wrapper=dict(clip_grad=dict(max_norm=1))), 'set optim_wrapper.clip_grad=None'),
                           (dict(optim_wrapper=dict(type='AmpOptimWrapper')), 'train with --amp bfloat16'),
                           (dict(compile=True), 'set compile=False'), (dict(channels_last=True), 'set channels_last=False')]:
        with pytest.raises(ValueError, match=message):
            check_sharding(wrong, distributed=True)
    check_sharding(dict(optim_wrapper=dict(type='AmpOptimWrapper', dtype='bfloat16')), distributed=True)
