"""The memory estimate counts what is alive; it and the benchmark of a step take any training config."""
import importlib.util
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from mmseg_cicld.models.decode_heads.fusion_layers import SeparableConv

FOLDER = Path(__file__).parents[2] / 'tools' / 'analysis_tools'
CONFIG = Path(__file__).parents[2] / 'configs/quickstart/adapt_street.py'
TOOLS = [('estimate_memory', [], 'estimated_peak_mib'),
         ('benchmark_step', ['--warmup', '0', '--iterations', '1', '--size', '64', '64'], 'peak_memory_mib')]


@pytest.fixture
def estimate_memory(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location('estimate_memory', FOLDER / 'estimate_memory.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop('benchmark_step', None)


@pytest.fixture
def live_bytes(estimate_memory):
    return estimate_memory.LiveBytes()


def test_bytes_of_a_forward_and_backward_pass(live_bytes):
    kib = 256  # float32 values in a KiB
    with FakeTensorMode():
        weight = torch.zeros(16 * kib, requires_grad=True)
        live_bytes.add(weight)
        with live_bytes:
            hidden = weight * 2  # 16 KiB
            out = hidden.exp()  # 16 KiB, kept for the backward pass
            view = out[:kib]  # no bytes of its own
            assert live_bytes.now == 48 * 1024
            del hidden, view
            assert live_bytes.now == 32 * 1024
            out.sum().backward()
            del out
        assert live_bytes.now == pytest.approx(32 * 1024, abs=64)  # weight and gradient
        assert live_bytes.peak > 48 * 1024


def test_maps_that_only_a_cpu_computes_again_are_counted(estimate_memory, live_bytes):
    with FakeTensorMode(), estimate_memory.as_on_a_gpu():
        branch = SeparableConv(64, 8, dilation=6, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))
        x = torch.zeros(2, 64, 256, 256)  # 32 MiB
        with live_bytes:
            out = branch(x)
        assert live_bytes.now >= 2 * x.nbytes + out.nbytes  # what norm and pointwise convolution are given


def test_operations_of_products_convolutions_and_attention(live_bytes):
    weight, tokens = torch.randn(4, 3, 3, 3, requires_grad=True), torch.randn(2, 5, 6, 8, requires_grad=True)
    with live_bytes:
        torch.mm(torch.randn(7, 11), torch.randn(11, 13))
        assert live_bytes.flop == 2 * 7 * 11 * 13
        out = F.conv2d(torch.randn(2, 3, 10, 12), weight, padding=1)
        convolution = 2 * 2 * 4 * 10 * 12 * 3 * 9
        assert live_bytes.flop == 2 * 7 * 11 * 13 + convolution
        before = live_bytes.flop
        out.sum().backward()
        assert live_bytes.flop - before == convolution  # of the weight alone: the image has no gradient
        before = live_bytes.flop
        attended = F.scaled_dot_product_attention(tokens, tokens, tokens)
        assert live_bytes.flop - before == 2 * 2 * 2 * 5 * 6 * 6 * 8
        before = live_bytes.flop
        attended.sum().backward()
        assert live_bytes.flop - before == 2.5 * 2 * 2 * 2 * 5 * 6 * 6 * 8  # five products, the scores made anew


@pytest.mark.parametrize('tool, arguments, key', TOOLS)
def test_heads_take_their_classes_from_the_dataset(monkeypatch, capsys, tool, arguments, key):
    """The head of this config leaves ``num_classes`` out, as those of own data do."""
    script = FOLDER / f'{tool}.py'
    monkeypatch.syspath_prepend(str(FOLDER))
    options = ['model.segmentor.decode_head.num_classes=None', 'model.segmentor.data_preprocessor.size=64,64']
    monkeypatch.setattr(sys, 'argv', [str(script), str(CONFIG), '--batch-size', '2', *arguments, '--cfg-options', *options])
    runpy.run_path(str(script), run_name='__main__')
    assert json.loads(capsys.readouterr().out)[key] > 0
    sys.modules.pop('benchmark_step', None)


def test_networks_that_denoise_are_estimated(monkeypatch, capsys):
    """The teacher predicts by a scheduler, whose tables hold values: they are copied, and no timestep is read."""
    script = FOLDER / 'estimate_memory.py'
    monkeypatch.syspath_prepend(str(FOLDER))
    options = ['model.segmentor.data_preprocessor.size=64,64', 'model.segmentor.decode_head.inference.steps=3',
               'model.segmentor.decode_head.training.prediction_steps=3']
    monkeypatch.setattr(sys, 'argv', [str(script), str(CONFIG.parents[1] / 'street/cicld_street.py'), '--cfg-options', *options])
    runpy.run_path(str(script), run_name='__main__')
    mib = json.loads(capsys.readouterr().out)['mib']
    assert set(mib) == {'source', 'mix', 'align'} and mib['mix'] >= mib['source'] > 0
    sys.modules.pop('benchmark_step', None)


@pytest.mark.parametrize('tool, arguments, key', TOOLS)
def test_tunings_that_start_from_the_weights_are_started(monkeypatch, capsys, tmp_path, tool, arguments, key):
    """SoMA's decomposition: the benchmark needs it, the estimate has no weights to decompose."""
    (tmp_path / 'soma.py').write_text(f"""
_base_ = ['{CONFIG.parents[1] / 'street/vit_source_only.py'}']
model = dict(segmentor=dict(backbone=dict(
    _delete_=True, type='TunedBackbone', tuning=dict(type='LoRATuning', rank=2, initialisation='smallest_singular'),
    backbone=dict(type='TransformersBackbone', out_indices=[1], model=dict(
        model_type='dinov2', hidden_size=192, num_hidden_layers=2, num_attention_heads=3, patch_size=8, image_size=64)))))
""")
    script = FOLDER / f'{tool}.py'
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, 'argv', [str(script), str(tmp_path / 'soma.py'), *arguments, '--cfg-options',
                                      'model.segmentor.data_preprocessor.size=64,64'])
    runpy.run_path(str(script), run_name='__main__')
    assert json.loads(capsys.readouterr().out)[key] > 0
    sys.modules.pop('benchmark_step', None)


@pytest.mark.parametrize('tool', ['estimate_memory', 'benchmark_step'])
def test_a_wrong_key_is_one_line(monkeypatch, tool):
    script = FOLDER / f'{tool}.py'
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, 'argv', [str(script), str(CONFIG), '--cfg-options', 'model.objectives.1.treshold=0.5'])
    with pytest.raises(SystemExit, match="error: model.objectives.1.treshold is no key .* did you mean 'threshold'"):
        runpy.run_path(str(script), run_name='__main__')
    sys.modules.pop('benchmark_step', None)
