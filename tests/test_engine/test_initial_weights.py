"""``load_from``: weights of a stock segmentor become those of the student; a bare ``--resume`` does not lose them."""
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from toy_training import toy_config, train

from mmseg_cicld.engine import AdaptationRunner, CheckpointError, read_checkpoint
from mmseg_cicld.engine.initial_weights import weights_for_training

NO_STEP = {'train_cfg.max_iters': 0}


@pytest.fixture(scope='module')
def stock(tmp_path_factory):
    """A checkpoint of a plain segmentor as mmengine writes it, and its weights."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        weights = MODELS.build(toy_config('none').model.segmentor).state_dict()
    path = tmp_path_factory.mktemp('stock') / 'stock.pth'
    torch.save(dict(state_dict=weights, meta=dict(iter=40000)), path)
    return path, weights


def _begun(folder, **options) -> AdaptationRunner:
    return train(folder, options={**NO_STEP, **options})


def _assert_is(network: torch.nn.Module, weights: dict) -> None:
    own = network.state_dict()
    assert own.keys() == weights.keys() and all(torch.equal(own[name], weights[name]) for name in own)


def test_student_and_teachers_begin_with_the_weights_of_a_plain_segmentor(stock, tmp_path):
    path, weights = stock
    runner = _begun(tmp_path, load_from=str(path))
    _assert_is(runner.model.student, weights)
    _assert_is(runner.model.teacher.network, weights)
    assert runner.iter == 0


def test_versions_of_layers_move_with_their_names(stock, tmp_path):
    """Layers read by them how to load older files."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(toy_config('none').model)
    state = model.student.state_dict()
    found = weights_for_training(state, model, tmp_path / 'a.pth', MMLogger.get_current_instance())
    versions = {(f'student.{name}' if name else 'student'): value for name, value in state._metadata.items()}
    assert dict(found._metadata) == versions and len(versions) > 5 and set(found) == {f'student.{name}' for name in state}


def test_statistics_of_batch_norms_reach_the_teacher(tmp_path):
    options = {'model.segmentor.backbone.norm': 'BatchNorm2d'}
    with DefaultScope.overwrite_default_scope('mmseg'):
        network = MODELS.build(toy_config('none', options=options).model.segmentor)
    network.backbone.norm.running_mean.fill_(7.)
    torch.save(network.state_dict(), tmp_path / 'bare.pth')
    runner = _begun(tmp_path / 'run', load_from=str(tmp_path / 'bare.pth'), **options)
    for part in (runner.model.student, runner.model.teacher.network):
        assert part.backbone.norm.running_mean.eq(7.).all()


def test_what_a_plain_segmentor_lacks_is_named(stock, tmp_path):
    path, weights = stock
    lacking = {name: value for name, value in weights.items() if not name.startswith('decode_head.conv_seg')}
    torch.save(lacking, tmp_path / 'lacking.pth')
    named = r'lacking.pth: .* 2 \(decode_head.conv_seg.weight, decode_head.conv_seg.bias\) of this student .*init_cfg'
    with pytest.raises(CheckpointError, match=named):
        _begun(tmp_path / 'run', load_from=str(tmp_path / 'lacking.pth'))


def test_what_has_no_place_is_left_over(stock, tmp_path):
    _, weights = stock
    torch.save({**weights, 'auxiliary_head.conv_seg.bias': torch.zeros(4)}, tmp_path / 'more.pth')
    _assert_is(_begun(tmp_path / 'run', load_from=str(tmp_path / 'more.pth')).model.student, weights)


def test_another_shape_and_another_network_are_refused(stock, tmp_path):
    _, weights = stock
    torch.save({**weights, 'decode_head.conv_seg.bias': torch.zeros(5)}, tmp_path / 'five.pth')
    torch.save({'layer.weight': torch.zeros(5)}, tmp_path / 'other.pth')
    for name, named in (('five', r'student.decode_head.conv_seg.bias \[5\] instead of'), ('other', 'does not fit')):
        with pytest.raises(CheckpointError, match=f'{name}.pth: .*{named}'):
            _begun(tmp_path / 'run', load_from=str(tmp_path / f'{name}.pth'))


def test_automatic_resume_without_a_checkpoint_loads_and_with_one_goes_on(stock, tmp_path):
    path, weights = stock
    options = dict(resume='auto', load_from=str(path))
    _assert_is(_begun(tmp_path, **options).model.student, weights)
    train(tmp_path, options={'train_cfg.max_iters': 2})
    resumed = _begun(tmp_path, **{**options, 'train_cfg.max_iters': 2})
    assert resumed.iter == 2
    _assert_is(resumed.model, read_checkpoint(tmp_path / 'iter_2.pth')['state_dict'])
