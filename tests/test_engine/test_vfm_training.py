"""The whole recipe of VFM-UDA++ in a training: exact resume, bfloat16, two processes, export."""
import signal

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from toy_training import assert_same, assert_same_run, records, toy_config, train, train_in_child, train_in_children

from mmseg_cicld.engine import AdaptationRunner, read_checkpoint
from mmseg_cicld.engine.exporting import plain_config, select_network

STRONG = dict(type='PhotometricAugmentation')
WEAK = dict(STRONG, brightness=32 / 255, contrast=0.5, saturation=0.5, hue=0.05, grey_probability=0.0, blur_probability=0.0)
VFM = {
    'model.teacher': dict(momentum=0.9, flip=True),
    'model.objectives': [
        dict(type='SourceSupervision', augmentation=STRONG, avg_non_ignore=True),
        dict(type='ClassMixSelfTraining', threshold=0.255, augmentation=WEAK, target_augmentation=WEAK),
        dict(type='MaskedConsistency', block=8, threshold=0.255, augment=WEAK),
        dict(type='FoundationFeatureDistance', network=dict(type='ToyBackbone'), out_channels=8, size=(28, 28))]}
QUIET = {'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None}
# Dropout draws for each process on its own; plain SGD makes a weight the sum of its gradients.
COMPARABLE = VFM | QUIET | {
    'model.segmentor.backbone.dropout': 0., 'model.segmentor.decode_head.dropout_ratio': 0.,
    'optim_wrapper.optimizer': dict(type='SGD', lr=0.5), 'train_cfg.max_iters': 3, 'param_scheduler': None}


def _final(folder, rank: int = 0) -> dict[str, torch.Tensor]:
    return torch.load(folder / f'final.rank{rank}', weights_only=True)


def test_resumes_exactly_after_kill(tmp_path):
    train(tmp_path / 'straight', options=VFM)
    kill = VFM | {'custom_hooks.0.signal_at': 6}
    assert train_in_child(tmp_path / 'killed', workers=2, options=kill) == -signal.SIGKILL
    train(tmp_path / 'killed', options=VFM | {'resume': True})
    assert_same_run(tmp_path / 'straight', tmp_path / 'killed')
    assert 'foundation.loss_target' in records(tmp_path / 'killed')[0]
    names = read_checkpoint(tmp_path / 'killed' / 'iter_8.pth')['state_dict']
    assert 'objectives.3.head.0.weight' in names and not any('frozen' in name for name in names)


def test_trains_in_bfloat16_and_resumes_exactly(tmp_path):
    options = VFM | QUIET | {'optim_wrapper.type': 'AutocastOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'}
    runner = train(tmp_path / 'half', max_iters=4, options=options)
    train(tmp_path / 'full', max_iters=4, options=VFM | QUIET)
    half, full = ([float.fromhex(line['loss']) for line in records(tmp_path / folder)] for folder in ('half', 'full'))
    assert half != full and half == pytest.approx(full, rel=0.02)
    assert all(p.dtype == torch.float32 for p in runner.model.objectives[3].frozen.built().parameters())
    train(tmp_path / 'stopped', max_iters=4, options={**options, 'train_cfg.max_iters': 3})
    train(tmp_path / 'stopped', max_iters=4, options={**options, 'resume': True})
    assert_same(_final(tmp_path / 'stopped'), _final(tmp_path / 'half'))


def test_two_processes_do_what_one_does_with_their_joined_batch(tmp_path):
    train(tmp_path / 'one', batch_size=2, options=COMPARABLE)
    assert train_in_children(tmp_path / 'two', 2, batch_size=1, options=COMPARABLE) == [0, 0]
    start = AdaptationRunner.from_cfg(toy_config(str(tmp_path / 'start'), options=COMPARABLE)).model.state_dict()
    alone, *ranks = _final(tmp_path / 'one'), _final(tmp_path / 'two', 0), _final(tmp_path / 'two', 1)
    for name, value in alone.items():
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        torch.testing.assert_close(ranks[0][name], value, rtol=1e-4, atol=2e-6, msg=lambda text: f'{name}: {text}')
    for name in ('objectives.3.head.0.weight', 'student.backbone.conv.weight', 'student.decode_head.conv_seg.weight'):
        assert (alone[name] - start[name]).abs().max() > 1e-4, name


def test_export_is_a_plain_segmentor_that_predicts_the_same(tmp_path):
    runner = train(tmp_path, options=VFM | QUIET | {'train_cfg.max_iters': 3})
    state = read_checkpoint(tmp_path / 'iter_3.pth')['state_dict']
    plain = plain_config(toy_config(str(tmp_path / 'plain'), options=VFM))
    init_default_scope('mmseg')
    network = MODELS.build(plain.model)
    network.load_state_dict(select_network(state, 'student', 'a checkpoint'))
    images, metas = torch.randn(1, 3, 32, 32), [dict(img_shape=(32, 32))]
    with torch.no_grad():
        expected = runner.model.student.eval().encode_decode(images, metas)
        assert torch.equal(network.eval().encode_decode(images, metas), expected)
