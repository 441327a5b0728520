"""What fuses levels at their own sizes gives what the same convolution gives of the upsampled and stacked levels."""
import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn

from mmseg_cicld.models.decode_heads.levelwise_fusion import fused_at_own_size, is_pointwise, stacked

CHANNELS, SIZES = (3, 4, 5), ((8, 10), (4, 5), (3, 3))


def levels() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, count, *size, dtype=torch.float64) for count, size in zip(CHANNELS, SIZES)]


@pytest.mark.parametrize('norm_cfg', [None, dict(type='BN'), dict(type='GN', num_groups=3)], ids=str)
@pytest.mark.parametrize('act_cfg', [None, dict(type='ReLU')], ids=str)
def test_fused_levels_are_those_of_the_stack(norm_cfg, act_cfg):
    fusion = ConvModule(sum(CHANNELS), 6, 1, norm_cfg=norm_cfg, act_cfg=act_cfg).double()
    torch.testing.assert_close(fused_at_own_size(levels(), fusion, 'bilinear', False), fusion(stacked(levels())))


def test_the_stack_is_upsampled_bilinearly():
    upsampled = [nn.Upsample(SIZES[0], mode='bilinear')(level) for level in levels()]
    torch.testing.assert_close(stacked(levels()), torch.cat(upsampled, dim=1))


@pytest.mark.parametrize('layer, expected', [
    (ConvModule(4, 4, 1), True), (ConvModule(4, 4, 3, padding=1), False), (nn.Conv2d(4, 4, 1), False),
    (ConvModule(4, 4, 1, norm_cfg=dict(type='BN'), order=('norm', 'conv', 'act')), False)])
def test_layers_that_can_be_fused_so(layer, expected):
    assert is_pointwise(layer) is expected
