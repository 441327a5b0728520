"""The EMA teacher: its average, its buffers, its mode."""
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmseg.registry import MODELS
from torch import nn

from mmseg_cicld.uda import EMATeacher


def networks(seed: int = 0) -> tuple[nn.Module, EMATeacher]:
    torch.manual_seed(seed)
    student = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    return student, EMATeacher(student, momentum=0.99)


@settings(max_examples=25, deadline=None)
@given(updates=st.lists(st.integers(0, 3000), min_size=1, max_size=4), momentum=st.sampled_from([0.5, 0.99, 0.999]))
def test_average_follows_the_formula(updates, momentum):
    student, _ = networks()
    teacher = EMATeacher(student, momentum)
    expected = {name: p.detach().numpy().copy() for name, p in teacher.network.named_parameters()}
    for index, t in enumerate(updates):
        with torch.no_grad():
            for p in student.parameters():
                p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(index)))
        teacher.update(student, t)
        factor = min(1 - 1 / (t + 1), momentum)
        for name, p in student.named_parameters():
            expected[name] = factor * expected[name] + (1 - factor) * p.detach().numpy()
    for name, p in teacher.network.named_parameters():
        np.testing.assert_allclose(p, expected[name], rtol=1e-5, atol=1e-6)


def test_first_update_copies_parameters_but_no_buffers():
    student, teacher = networks()
    with torch.no_grad():
        student[0].weight.fill_(3)
        student[1].running_mean.fill_(7)
    teacher.update(student, 0)
    assert torch.equal(teacher.network[0].weight, student[0].weight)
    assert torch.equal(teacher.network[1].running_mean, torch.zeros(4))


@pytest.mark.parametrize('t, factor', [(0, 0), (1, 0.5), (2, 2 / 3), (9, 0.9), (98, 98 / 99), (99, 0.99), (500, 0.99)])
def test_averaging_factor(t, factor):
    student, teacher = networks()
    with torch.no_grad():
        for p, q in zip(student.parameters(), teacher.network.parameters()):
            p.fill_(0)
            q.fill_(1)
    teacher.update(student, t)
    assert float(teacher.network[0].weight.max()) == pytest.approx(factor, rel=1e-6)


def test_dropout_is_off_and_batch_norm_trains(segmentor):
    teacher = EMATeacher(MODELS.build(segmentor())).train()
    kinds = {type(m).__name__: m.training for m in teacher.modules()}
    assert not kinds['DropPath'] and not kinds['Dropout2d']
    assert kinds['BatchNorm2d']
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(teacher.logits(images), teacher.logits(images))


def test_gives_no_graph_and_takes_no_gradient(segmentor):
    teacher = EMATeacher(MODELS.build(segmentor())).train()
    assert not teacher.logits(torch.randn(2, 3, 64, 64)).requires_grad
    assert not any(p.requires_grad for p in teacher.parameters())
