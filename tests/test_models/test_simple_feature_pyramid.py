"""Simple feature pyramid: resolutions and formulas of each level, which map it reads, and heads on top."""
import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS


def pyramid(**options):
    torch.manual_seed(0)
    return MODELS.build(dict(type='SimpleFeaturePyramid', in_channels=16, out_channels=8, **options)).eval()


@torch.no_grad()
def test_levels_are_made_as_the_paper_says():
    neck, map_BChw = pyramid(), torch.randn(2, 16, 5, 7)
    levels = neck((torch.zeros(2, 3, 1, 1), map_BChw))
    assert [tuple(level.shape) for level in levels] == [(2, 8, 20, 28), (2, 8, 10, 14), (2, 8, 5, 7), (2, 8, 3, 4)]

    def normed(norm, x):
        return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], norm.weight, norm.bias, norm.eps).permute(0, 3, 1, 2)

    def finished(level, x):
        first, one, second, two = list(neck.levels[level])[1:]
        return normed(two, second(normed(one, first(x))))

    up, norm, _, again = neck.levels[0][0]
    finest = again(F.gelu(normed(norm, up(map_BChw))))
    expected = [finest, neck.levels[1][0](map_BChw), map_BChw, F.max_pool2d(map_BChw, 2, ceil_mode=True)]
    for index, (level, before) in enumerate(zip(levels, expected)):
        torch.testing.assert_close(level, finished(index, before))


def test_convolutions_before_norms_have_no_bias():
    convolutions = [part for part in pyramid().levels.modules() if type(part) is torch.nn.Conv2d]
    assert len(convolutions) == 8 and all(part.bias is None for part in convolutions)


@torch.no_grad()
def test_each_level_can_have_a_map_of_its_own():
    maps = [torch.randn(1, 16, 4, 4) for _ in range(4)]
    several = pyramid(in_index=[0, 1, 2, 3])(maps)
    for index, level in enumerate(several):
        assert torch.equal(level, pyramid(in_index=index)(maps)[index])
    with pytest.raises(ValueError, match='lists 2 maps: give one, or four'):
        pyramid(in_index=[0, 1])
