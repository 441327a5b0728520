"""The memory estimate counts what is alive; docs/speed.md runs it on a config."""
import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

FOLDER = Path(__file__).parents[2] / 'tools' / 'analysis_tools'


@pytest.fixture
def live_bytes(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location('estimate_memory', FOLDER / 'estimate_memory.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module.LiveBytes()
    sys.modules.pop('benchmark_step', None)


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
