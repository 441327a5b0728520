"""Convolutions with a fast form for a CPU: numbers, gradients, and when the form is used."""
from unittest.mock import patch

import pytest
import torch
from torch.nn import functional as F

from mmseg_cicld.models.backbones import depthwise_convolution
from mmseg_cicld.models.backbones.depthwise_convolution import DepthwiseConv2d, has_own_gradients
from mmseg_cicld.models.decode_heads import winograd_convolution
from mmseg_cicld.models.decode_heads.dilated_depthwise_convolution import DilatedDepthwiseConv2d
from mmseg_cicld.models.decode_heads.winograd_convolution import WinogradConv2d


def deviation(conv, x, **options) -> float:
    """Returns how far results and all gradients are from those of the direct form, relative to their size, at most."""
    x.requires_grad_()
    plain = F.conv2d(x, conv.weight, conv.bias, **options)
    parts = [part for part in (x, conv.weight, conv.bias) if part is not None]
    gradient = torch.randn_like(plain)
    expected = [plain, *torch.autograd.grad(plain, parts, gradient)]
    found, deviations = conv(x), []
    for got, right in zip([found, *torch.autograd.grad(found, parts, gradient)], expected, strict=True):
        got, right = got.detach(), right.detach()
        assert got.shape == right.shape and got.dtype == right.dtype
        deviations.append(float((got - right).abs().max()) / float(right.square().mean().sqrt()))
    return max(deviations)


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('height, width, dilation', [(19, 26, 6), (64, 16, 18), (5, 4, 6), (12, 12, 6), (1, 1, 3)])
def test_dilated_depthwise_convolution_is_the_direct_one(height, width, dilation, memory_format):
    torch.manual_seed(0)
    conv = DilatedDepthwiseConv2d(7, 7, 3, padding=dilation, dilation=dilation, groups=7).double()
    x = torch.randn(2, 7, height, width, dtype=torch.float64).contiguous(memory_format=memory_format)
    assert deviation(conv, x, padding=dilation, dilation=dilation, groups=7) <= 1e-12


@pytest.mark.parametrize('options', [dict(stride=2), dict(dilation=1, padding=1), dict(padding=0), dict(groups=1)])
def test_other_convolutions_are_left_alone(options):
    options = dict(padding=2, dilation=2, groups=4) | options
    conv = DilatedDepthwiseConv2d(4, 4, 3, **options)
    x = torch.randn(1, 4, 9, 9)
    expected = F.conv2d(x, conv.weight, conv.bias, **{'stride': 1, **options})
    assert torch.equal(conv(x), expected)


def test_dilated_depthwise_convolution_under_autocast_sums_its_gradient_in_float32():
    torch.manual_seed(0)
    conv = DilatedDepthwiseConv2d(8, 8, 3, padding=6, dilation=6, groups=8, bias=False)
    x = torch.rand(1, 8, 64, 64).bfloat16().requires_grad_()
    exact = F.conv2d(x.double(), conv.weight.double(), padding=6, dilation=6, groups=8)
    with torch.autocast('cpu', torch.bfloat16):
        found = conv(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), exact, rtol=0.02, atol=0.02)
    expected, = torch.autograd.grad(exact.sum(), conv.weight)
    found.sum().backward()
    assert x.grad.dtype == torch.bfloat16
    torch.testing.assert_close(conv.weight.grad, expected, rtol=1e-5, atol=0)


def test_compiled_gradient_of_a_kernel_is_that_of_eager_mode():
    torch.manual_seed(0)
    conv = DilatedDepthwiseConv2d(5, 5, 3, padding=2, dilation=2, groups=5, bias=False)
    x = torch.randn(2, 5, 9, 8)
    eager, = torch.autograd.grad(conv(x).square().sum(), conv.weight)
    with patch('torch.compiler.is_compiling', lambda: True):
        compiled, = torch.autograd.grad(conv(x).square().sum(), conv.weight)
    torch.testing.assert_close(compiled, eager)


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('kernel, stride, padding', [(5, 1, 2), (5, 2, 2), (5, (2, 1), 0), (7, 2, (3, 1)), (3, 2, 1)])
@pytest.mark.parametrize('height, width', [(19, 26), (8, 7)])
def test_depthwise_convolution_is_the_direct_one(height, width, kernel, stride, padding, memory_format):
    torch.manual_seed(0)
    options = dict(stride=stride, padding=padding, groups=9)
    conv = DepthwiseConv2d(9, 9, kernel, **options)
    x = torch.randn(2, 9, height, width).contiguous(memory_format=memory_format)
    assert has_own_gradients(conv, x) is (kernel > 3)
    assert deviation(conv, x, **options) <= 2e-5
    assert conv(x).is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize('kernel, stride', [(5, 1), (5, 2), (3, 2), (3, 1)])
def test_depthwise_convolution_under_autocast_has_the_gradients_of_its_rounded_input(kernel, stride):
    torch.manual_seed(0)
    conv = DepthwiseConv2d(6, 6, kernel, stride=stride, padding=kernel // 2, groups=6)
    x = torch.randn(2, 6, 21, 18).bfloat16().float().requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        found = conv(x)
    gradient = torch.randn(found.shape).bfloat16()
    exact = F.conv2d(x.double(), conv.weight.double(), conv.bias.double(), stride, kernel // 2, groups=6)
    expected = torch.autograd.grad(exact, (x, conv.weight, conv.bias), gradient.double())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), exact, rtol=0.02, atol=0.02)
    own = torch.autograd.grad(found, (x, conv.weight, conv.bias), gradient)
    assert [part.dtype for part in own] == [torch.float32] * 3
    # The gradient of a kernel of 3 with stride 1 is the library's, which adds up 756 parts to units of bfloat16.
    library, unit = (kernel, stride) == (3, 1), torch.finfo(torch.bfloat16).eps * float(expected[1].abs().max())
    for got, right, rtol, atol in zip(own, expected, (0.02, 0.02 if library else 1e-5, 0.02),
                                      (0.02, unit if library else 1e-5, 0.02)):
        torch.testing.assert_close(got, right, rtol=rtol, atol=atol)


@pytest.mark.parametrize('options', [dict(dilation=2), dict(groups=2), dict(kernel_size=(5, 3)), dict(kernel_size=4)])
def test_convolutions_that_are_not_depthwise_or_square_are_left_alone(options):
    options = dict(kernel_size=5, padding=2, groups=4) | options
    conv, x = DepthwiseConv2d(4, 4, **options), torch.randn(1, 4, 12, 13)
    options.pop('kernel_size')
    assert not has_own_gradients(conv, x)
    assert torch.equal(conv(x), F.conv2d(x, conv.weight, conv.bias, **options))


def test_depthwise_gradients_of_float64_and_without_a_graph_are_left_to_the_library():
    conv, x = DepthwiseConv2d(4, 4, 5, padding=2, groups=4), torch.randn(1, 4, 9, 9)
    with patch.object(depthwise_convolution._Depthwise, 'apply', side_effect=AssertionError):
        conv.double()(x.double())
        with torch.no_grad():
            conv.float()(x)
    assert torch.autograd.gradcheck(conv.double(), x.double().requires_grad_())


def test_a_frozen_depthwise_kernel_has_no_gradient_and_its_input_has():
    conv, x = DepthwiseConv2d(4, 4, 5, padding=2, groups=4).requires_grad_(False), torch.randn(1, 4, 9, 9).requires_grad_()
    conv(x).sum().backward()
    expected, = torch.autograd.grad(F.conv2d(x, conv.weight, padding=2, groups=4).sum(), x)
    torch.testing.assert_close(x.grad, expected)
    assert conv.weight.grad is None


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('size', [(1, 32, 32), (2, 33, 38), (3, 20, 25)])
def test_winograd_is_the_direct_form(size, bias):
    torch.manual_seed(0)
    batch, height, width = size
    conv = WinogradConv2d(64, 67, 3, padding=1, bias=bias).double()
    x = torch.randn(batch, 64, height, width, dtype=torch.float64)
    # Several parts of tiles and of kernels, the last ones smaller.
    with patch.multiple(winograd_convolution, TILES_AT_ONCE=24, LARGEST_BLOCK=10 * conv.weight[..., 0, 0].nbytes):
        assert deviation(conv, x, padding=1) <= 1e-12
    assert conv._suits(x)


def test_winograd_rounds_little_in_float32():
    torch.manual_seed(0)
    conv = WinogradConv2d(256, 64, 3, padding=1, bias=False)
    x = torch.randn(1, 256, 32, 32)
    exact = F.conv2d(x.double(), conv.weight.double(), padding=1)
    error = (conv(x).double() - exact) / exact.square().mean().sqrt()
    assert float(error.square().mean().sqrt()) < 2e-6 and float(error.abs().max()) < 2e-5


def test_winograd_rounds_no_more_than_the_direct_form_under_autocast():
    torch.manual_seed(0)
    conv, x = WinogradConv2d(64, 64, 3, padding=1), torch.randn(1, 64, 32, 32).bfloat16().requires_grad_()
    exact = F.conv2d(x.float(), conv.weight, conv.bias, padding=1)
    with torch.autocast('cpu', torch.bfloat16), \
            patch.object(winograd_convolution, 'multiplies_bfloat16', lambda: False):
        found, direct = conv(x), F.conv2d(x, conv.weight, conv.bias, padding=1)
    assert found.dtype == torch.bfloat16
    assert (found.float() - exact).abs().mean() <= (direct.float() - exact).abs().mean()
    found.float().square().sum().backward()
    assert x.grad.dtype == torch.bfloat16 and conv.weight.grad.dtype == torch.float32
    expected, = torch.autograd.grad(exact.square().sum(), conv.weight)
    assert (conv.weight.grad - expected).norm() < 0.01 * expected.norm()


@pytest.mark.parametrize('options', [dict(stride=2), dict(dilation=2), dict(padding=0), dict(groups=2),
                                     dict(padding_mode='reflect')])
def test_winograd_is_for_plain_3x3_convolutions(options):
    conv = WinogradConv2d(128, 128, 3, **(dict(padding=1) | options))
    assert not conv._suits(torch.zeros(1, 128, 40, 40))


def test_winograd_is_for_wide_maps_of_some_size():
    wide, narrow = WinogradConv2d(64, 64, 3, padding=1), WinogradConv2d(64, 63, 3, padding=1)
    assert wide._suits(torch.zeros(1, 64, 32, 32)) and not wide._suits(torch.zeros(1, 64, 31, 32))
    assert not narrow._suits(torch.zeros(1, 64, 32, 32))
    assert not wide.bfloat16()._suits(torch.zeros(1, 64, 32, 32, dtype=torch.bfloat16))


def test_units_for_bfloat16_are_used():
    conv, x = WinogradConv2d(64, 64, 3, padding=1), torch.zeros(1, 64, 32, 32)
    with patch.object(winograd_convolution, 'multiplies_bfloat16', lambda: True):
        assert conv._suits(x)
        with torch.autocast('cpu', torch.bfloat16):
            assert not conv._suits(x)
