"""Mixed precision, accumulation, clipping, channels_last, compile, and the checks before training."""
from unittest.mock import MagicMock, patch

import pytest
import torch
from mmseg.apis import init_model
from torch._dynamo import register_backend
from toy_training import DEGRADED, STACKED, TWO_SCALES, assert_same, assert_same_run, records, toy_config, train

from mmseg_cicld.engine import AdaptationRunner, AutocastOptimWrapper, read_checkpoint
from mmseg_cicld.engine.acceleration import compile_segmentors

QUIET = {'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None}
SOURCE_ONLY = {
    'model.objectives': [dict(type='SourceSupervision')], 'model.teacher': None, 'param_scheduler': None,
    'model.segmentor.backbone.dropout': 0., 'model.segmentor.decode_head.dropout_ratio': 0.,
    'optim_wrapper.optimizer': dict(type='SGD', lr=0.5), **QUIET}


def _losses(folder) -> list[float]:
    return [float.fromhex(line['loss']) for line in records(folder)]


def _final(folder) -> dict[str, torch.Tensor]:
    return torch.load(folder / 'final.rank0', weights_only=True)


def _assert_close(one, other, tolerance: float) -> None:
    for (name, value), expected in zip(_final(one).items(), _final(other).values(), strict=True):
        if 'iteration' not in name:
            torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance,
                                       msg=lambda text: f'{name}: {text}')


METHODS = pytest.mark.parametrize('method', [{}, TWO_SCALES, TWO_SCALES | DEGRADED, TWO_SCALES | STACKED],
                                  ids=['dacs', 'hrda and mic', 'hrda and dida', 'hrda and mrm, blda, masktwins'])


@METHODS
def test_bfloat16_trains_and_resumes_exactly(tmp_path, method):
    options = {'optim_wrapper.type': 'AutocastOptimWrapper', 'optim_wrapper.dtype': 'bfloat16', **QUIET, **method}
    runner = train(tmp_path / 'half', options=options)
    train(tmp_path / 'full', options=QUIET | method)
    half, full = _losses(tmp_path / 'half'), _losses(tmp_path / 'full')
    assert half != full and half == pytest.approx(full, rel=0.02)
    assert all(value.dtype == torch.float32 for value in runner.model.student.state_dict().values())
    train(tmp_path / 'stopped', options={**options, 'train_cfg.max_iters': 3})
    train(tmp_path / 'stopped', options={**options, 'resume': True})
    assert_same(_final(tmp_path / 'stopped'), _final(tmp_path / 'half'))


def test_autocast_reaches_the_forward_pass_only():
    layer = torch.nn.Linear(2, 2)
    wrapper = AutocastOptimWrapper(torch.optim.SGD(layer.parameters(), lr=1.))
    with wrapper.optim_context(layer):
        assert layer(torch.ones(1, 2)).dtype == torch.bfloat16
    assert layer(torch.ones(1, 2)).dtype == torch.float32


@pytest.mark.parametrize('multiplies', [True, False])
def test_bfloat16_on_a_processor_without_it_is_said_to_be_slow(multiplies):
    layer = torch.nn.Linear(2, 2)
    logger = MagicMock()
    with patch('mmseg_cicld.engine.optim.multiplies_bfloat16', lambda: multiplies), \
            patch('mmseg_cicld.engine.optim.MMLogger.get_current_instance', lambda: logger):
        AutocastOptimWrapper(torch.optim.SGD(layer.parameters(), lr=1.))
    assert [call.args[0].split(':')[1] for call in logger.warning.call_args_list] == [
        " train without --amp (optim_wrapper.type='OptimWrapper', or dtype='auto')"][:not multiplies]


@pytest.mark.parametrize(('multiplies', 'dtype'), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_bfloat16_where_the_processor_has_units_for_it_and_says_which(multiplies, dtype):
    layer = torch.nn.Linear(2, 2)
    logger = MagicMock()
    with patch('mmseg_cicld.models.precision.multiplies_bfloat16', lambda: multiplies), \
            patch('mmseg_cicld.engine.optim.MMLogger.get_current_instance', lambda: logger):
        wrapper = AutocastOptimWrapper(torch.optim.SGD(layer.parameters(), lr=1.), dtype='auto')
    with wrapper.optim_context(layer):
        assert layer(torch.ones(1, 2)).dtype == dtype
    assert not logger.warning.called and str(dtype) in logger.info.call_args.args[0]


@pytest.mark.parametrize('dtype', ['float16', 'float32'])
def test_other_precisions_are_refused(tmp_path, dtype):
    with pytest.raises(ValueError, match=f"'{dtype}', allowed are 'bfloat16' and 'auto'.*AmpOptimWrapper"):
        train(tmp_path, options={'optim_wrapper.type': 'AutocastOptimWrapper', 'optim_wrapper.dtype': dtype})


@pytest.mark.parametrize('more', [{}, {'optim_wrapper.clip_grad': dict(max_norm=0.2)}])
def test_accumulation_is_a_large_batch(tmp_path, more):
    options = {**SOURCE_ONLY, **more}
    train(tmp_path / 'large', batch_size=2, max_iters=3, options=options)
    train(tmp_path / 'small', batch_size=1, max_iters=6, save_interval=2,
          options={**options, 'optim_wrapper.accumulative_counts': 2})
    large, small = _final(tmp_path / 'large'), _final(tmp_path / 'small')
    assert (int(large['updates']), int(small['updates'])) == (3, 3)
    _assert_close(tmp_path / 'small', tmp_path / 'large', 1e-5)


@METHODS
def test_accumulation_resumes_exactly(tmp_path, method):
    options = {'optim_wrapper.accumulative_counts': 3, **QUIET, **method}
    train(tmp_path / 'straight', options=options)
    train(tmp_path / 'stopped', options={**options, 'train_cfg.max_iters': 3})
    train(tmp_path / 'stopped', options={**options, 'resume': True})
    assert records(tmp_path / 'straight') == records(tmp_path / 'stopped')
    assert_same(_final(tmp_path / 'stopped'), _final(tmp_path / 'straight'))


def test_clipping_limits_the_step(tmp_path):
    options = {**SOURCE_ONLY, 'optim_wrapper.clip_grad': dict(max_norm=0.01)}
    train(tmp_path, max_iters=2, save_interval=1, options=options)
    before, after = (read_checkpoint(tmp_path / f'iter_{n}.pth')['state_dict'] for n in (1, 2))
    moved = torch.cat([(after[name] - before[name]).flatten() for name in after if name.startswith('student.')])
    assert float(moved.norm()) == pytest.approx(0.5 * 0.01, rel=1e-3)


@pytest.mark.parametrize('switch', [{'channels_last': True}, {'compile': dict(backend='eager')}])
def test_switches_change_neither_numbers_nor_names(tmp_path, switch):
    # Dropout fills memory in its order, so its draws depend on the layout.
    options = {'model.segmentor.backbone.dropout': 0., 'model.segmentor.decode_head.dropout_ratio': 0.}
    plain = train(tmp_path / 'plain', max_iters=4, options=options)
    fast = train(tmp_path / 'fast', max_iters=4, options=options | switch)
    assert _losses(tmp_path / 'fast') == pytest.approx(_losses(tmp_path / 'plain'), rel=1e-4)
    _assert_close(tmp_path / 'fast', tmp_path / 'plain', 1e-3)
    assert list(fast.model.state_dict()) == list(plain.model.state_dict())
    if 'channels_last' in switch:
        for network in (fast.model.student, fast.model.teacher.network):
            assert network.backbone.conv.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize('switch', [{'channels_last': True}, {'compile': dict(backend='eager')},
                                    {'channels_last': True, **TWO_SCALES},
                                    {'compile': dict(backend='eager'), **TWO_SCALES, **DEGRADED}])
def test_switches_resume_exactly(tmp_path, switch):
    train(tmp_path / 'straight', options=switch)
    train(tmp_path / 'stopped', options={**switch, 'train_cfg.max_iters': 3})
    train(tmp_path / 'stopped', options={**switch, 'resume': True})
    assert_same_run(tmp_path / 'straight', tmp_path / 'stopped')


@pytest.mark.parametrize('method, parts', [({}, 4), (TWO_SCALES, 6)], ids=['dacs', 'hrda and mic'])
def test_compile_reaches_all_networks(tmp_path, method, parts):
    torch._dynamo.reset()  # what other tests compiled counts towards its limit of recompilations
    graphs, backend = [], f'counting_{parts}'

    @register_backend(name=backend)
    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    train(tmp_path, max_iters=1, options={'compile': dict(backend=backend), **QUIET, **method})
    # Backbone and heads with gradients for the student, without for the teachers, who share theirs.
    assert len(graphs) >= parts


def test_compile_without_a_segmentor_is_refused():
    with pytest.raises(ValueError, match='compile is set .* no mmseg segmentor'):
        compile_segmentors(torch.nn.Linear(1, 1))


def test_classes_come_from_the_dataset(tmp_path):
    options = {'model.segmentor.decode_head.num_classes': None}
    runner = AdaptationRunner.from_cfg(toy_config(str(tmp_path), options=options))
    assert runner.model.student.decode_head.num_classes == 4
    with pytest.raises(ValueError, match='num_classes'):
        AdaptationRunner.from_cfg(toy_config(str(tmp_path), options={'model.segmentor.decode_head.num_classes': 3}))


def test_stock_init_model_reads_the_checkpoint_of_a_plain_segmentor(tmp_path):
    segmentor = toy_config(str(tmp_path)).model.segmentor
    options = {'model': dict(_delete_=True, **segmentor), **QUIET,
               'train_dataloader.dataset': dict(_delete_=True, type='ToyLabelled')}
    train(tmp_path, max_iters=1, options=options)
    model = init_model(toy_config(str(tmp_path), options=options), str(tmp_path / 'iter_1.pth'), device='cpu')
    assert model.dataset_meta['classes'] == ('road', 'car', 'sky', 'person')
    assert_same(dict(model.state_dict()), dict(_final(tmp_path)))
