"""Maps that are computed again: the numbers of maps that are kept, in less memory."""
from copy import deepcopy
from unittest.mock import patch

import pytest
import torch
from mmcv.cnn import ConvModule
from torch.autograd.graph import saved_tensors_hooks

from mmseg_cicld.models.decode_heads import computed_again as module
from mmseg_cicld.models.decode_heads.computed_again import computed_again
from mmseg_cicld.models.decode_heads.dilated_depthwise_convolution import DilatedDepthwiseConv2d
from mmseg_cicld.uda.objectives.degradation import running_statistics_kept


def depthwise_block() -> ConvModule:
    torch.manual_seed(0)
    return ConvModule(8, 8, 3, padding=2, dilation=2, groups=8, conv_cfg=dict(type=DilatedDepthwiseConv2d),
                      norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))


def images() -> torch.Tensor:
    return torch.randn(2, 8, 12, 14, generator=torch.Generator().manual_seed(1)).requires_grad_()


def saved_bytes(call, x) -> tuple[torch.Tensor, int]:
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        return call(x), sum(kept.values())


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('autocast', [False, True])
def test_numbers_and_statistics_are_those_of_the_block(training, autocast):
    plain, x, y = depthwise_block().train(training), images(), images()
    block = deepcopy(plain)
    with patch.object(module, 'LARGE_MAP', 0), torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        expected, found = plain(x), computed_again(block, y)
        found.float().square().sum().backward()
        expected.float().square().sum().backward()
    assert torch.equal(found, expected) and torch.equal(y.grad, x.grad)
    for got, right in zip(block.parameters(), plain.parameters(), strict=True):
        assert torch.equal(got.grad, right.grad)
    for got, right in zip(block.buffers(), plain.buffers(), strict=True):
        assert torch.equal(got, right)
    assert int(block.norm.num_batches_tracked) == training


def test_norms_work_as_they_did_in_the_forward_pass():
    """Objectives let norms use a batch's statistics without noting them, in a block that the backward pass is not in."""
    plain, x, y = depthwise_block(), images(), images()
    block = deepcopy(plain)
    with patch.object(module, 'LARGE_MAP', 0):
        with running_statistics_kept(plain), running_statistics_kept(block):
            expected, found = plain(x), computed_again(block, y)
        block.eval()
        for _ in range(2):
            found.square().sum().backward(retain_graph=True)
            expected.square().sum().backward(retain_graph=True)
    assert torch.equal(y.grad, x.grad)
    assert not block.norm.training and block.norm.track_running_stats
    for got, right in zip(block.buffers(), plain.buffers(), strict=True):
        assert torch.equal(got, right)


def test_a_block_that_sees_a_small_and_a_large_map_has_both_gradients():
    plain, x = depthwise_block(), images()
    block = deepcopy(plain)
    with patch.object(module, 'LARGE_MAP', x.nbytes):
        for call in (plain, lambda values: computed_again(block, values)):
            small, large = call(x[:1]), call(x)
            (small.square().sum() + large.square().sum()).backward()
    for got, right in zip(block.parameters(), plain.parameters(), strict=True):
        assert torch.equal(got.grad, right.grad)


def test_only_the_input_is_kept():
    block, x = depthwise_block(), images()
    _, all_maps = saved_bytes(block, x)
    with patch.object(module, 'LARGE_MAP', 0):
        out, kept = saved_bytes(lambda values: computed_again(block, values), x)
    assert kept <= x.nbytes < all_maps / 2
    out.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize('case', ['small', 'no gradient'])
def test_maps_are_computed_once_where_nothing_is_saved_by_it(case):
    block, x = depthwise_block(), images()
    with patch.object(module, 'checkpoint', wraps=module.checkpoint) as again, \
            patch.object(module, 'LARGE_MAP', x.nbytes + 1 if case == 'small' else 0), \
            torch.set_grad_enabled(case == 'small'):
        found = computed_again(block, x)
    assert again.call_count == 0
    assert torch.equal(found, depthwise_block()(x)) and found.requires_grad == (case == 'small')
