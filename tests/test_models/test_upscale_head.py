"""Light decoder of VFM-UDA++: its formula, its widths, its classifier."""
import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS


def head(**options):
    torch.manual_seed(0)
    network = MODELS.build(dict(type='UpscaleHead', **{**dict(num_classes=5, in_channels=[16, 16, 16, 32]), **options}))
    network.init_weights()
    return network.eval()


@torch.no_grad()
def test_logits_are_those_of_the_formula():
    network = head()
    levels = [torch.randn(2, 16, 20, 27), torch.randn(2, 16, 10, 14), torch.randn(2, 16, 5, 7), torch.randn(2, 32, 3, 4)]
    features = levels[3]
    for index, finer in enumerate((levels[2], levels[1], levels[0])):
        up = F.conv_transpose2d(features, network.up[index].weight, network.up[index].bias, stride=2)
        joined = up[..., :finer.shape[2], :finer.shape[3]] + network.lateral[index](finer)
        smoothed = F.conv2d(joined, network.smooth[index].conv.weight, padding=1)
        norm = network.smooth[index].bn
        features = F.relu(F.batch_norm(smoothed, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps))
    features = F.conv2d(features, network.last.weight, network.last.bias, padding=1)
    expected = F.conv2d(features, network.conv_seg.weight)
    torch.testing.assert_close(network(levels), expected)
    assert expected.shape == (2, 5, 20, 27)


def test_widths_halve_and_the_classifier_is_as_published():
    network = head(in_channels=[64, 64, 64, 512], num_classes=19)
    assert [up.out_channels for up in network.up] == [256, 128, 64] and network.channels == 64
    assert network.conv_seg.bias is None and network.dropout is None
    assert float(network.conv_seg.weight.std()) == pytest.approx(0.1, rel=0.1)
    assert network.smooth[0].bn.momentum == 0.01


def test_levels_that_do_not_fit_are_refused():
    for channels in ([16, 16, 32], [16, 16, 16, 20]):
        with pytest.raises(ValueError, match='UpscaleHead takes four levels, the last with a multiple of 8'):
            head(in_channels=channels)
