"""The rebuilder of hidden features: what it changes, what it sees, and its parts against direct formulas."""
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_cicld.models.diffusion.shift_encoder import FeatureLevel
from mmseg_cicld.models.rebuilder import ChannelNorm, FeatureRebuilder, positions

LEVELS = (FeatureLevel(3, 4), FeatureLevel(5, 8), FeatureLevel(6, 32))


def rebuilder(**kwargs) -> FeatureRebuilder:
    torch.manual_seed(0)
    return FeatureRebuilder(LEVELS, **{**dict(cell=32, width=8, heads=2), **kwargs})


def features(size=(64, 96), images=2) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(images, level.channels, *(side // level.stride for side in size), requires_grad=True)
            for level in LEVELS]


def visible() -> torch.Tensor:
    return torch.tensor([[[1., 0, 1], [1, 1, 0]], [[0, 0, 1], [1, 1, 1]]])[:, None]


def test_only_hidden_cells_change():
    given = features()
    rebuilt = rebuilder()(given, visible())
    for level, before, after in zip(LEVELS, given, rebuilt, strict=True):
        kept = visible().repeat_interleave(32 // level.stride, 2).repeat_interleave(32 // level.stride, 3) == 1
        assert after.shape == before.shape
        assert torch.equal(after.where(kept, 0), before.where(kept, 0))
        assert not torch.isclose(after, before)[(~kept).expand_as(after)].any()


def test_biases_alone_begin_at_zero():
    network = rebuilder()
    started = [*network.embedding.named_parameters(), *network.blocks.named_parameters()]
    assert {name for name, value in started if not value.any()} == {name for name, _ in started if name.endswith('bias')}


def test_hidden_cells_are_filled_from_visible_ones_of_the_deepest_level_alone():
    network, given = rebuilder(), features()
    before = network(given, visible())
    changed = [torch.randn_like(level) for level in given]
    changed[-1] = torch.where(visible() == 1, given[-1], changed[-1])
    for level, one, other in zip(LEVELS, before, network(changed, visible()), strict=True):
        hidden = visible().repeat_interleave(32 // level.stride, 2).repeat_interleave(32 // level.stride, 3) == 0
        torch.testing.assert_close(one.where(hidden, 0), other.where(hidden, 0))
    changed[-1] = given[-1] + visible()
    assert not torch.allclose(network(changed, visible())[-1][0, :, 0, 1], before[-1][0, :, 0, 1])


def test_forward_is_embedding_mask_positions_blocks_norm_and_projection():
    network, given = rebuilder(), features()
    weight, bias = network.embedding.weight[:, :, 0, 0], network.embedding.bias
    tokens = given[-1].permute(0, 2, 3, 1) @ weight.T + bias
    tokens = torch.where(visible().permute(0, 2, 3, 1) == 1, tokens, network.mask_token[:, :, 0, 0])
    tokens = tokens.reshape(2, 6, 8) + positions((2, 3), tokens.reshape(2, 6, 8))
    for block in network.blocks:
        # pre-norm attention, then pre-norm MLP, both with a residual
        normed = block.norm1(tokens)
        q, k, v = (normed @ block.self_attn.in_proj_weight.T).reshape(2, 6, 3, 2, 4).permute(2, 0, 3, 1, 4)
        attended = ((q @ k.transpose(-1, -2)) / math.sqrt(4)).softmax(-1) @ v
        tokens = tokens + block.self_attn.out_proj(attended.transpose(1, 2).reshape(2, 6, 8))
        tokens = tokens + block.linear2(F.gelu(block.linear1(block.norm2(tokens))))
    tokens = network.norm(tokens).reshape(2, 2, 3, 8).permute(0, 3, 1, 2)
    rebuilt = network(given, visible())
    for before, after, projector in zip(given, rebuilt, network.projectors, strict=True):
        kept = F.interpolate(visible(), size=before.shape[2:])
        torch.testing.assert_close(after, before * kept + projector(tokens) * (1 - kept))


def test_projectors_double_as_often_as_needed_and_end_with_the_norm_of_channels():
    network = rebuilder(width=16)
    counts = [sum(isinstance(layer, nn.ConvTranspose2d) for layer in projector) for projector in network.projectors]
    assert counts == [3, 2, 0]
    widths = [layer.out_channels for layer in network.projectors[0] if isinstance(layer, nn.ConvTranspose2d)]
    assert widths == [8, 4, 4]
    maps = torch.randn(2, 5, 3, 4)
    norm = ChannelNorm(5)
    expected = (maps - maps.mean(1, keepdim=True)) / (maps.var(1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    torch.testing.assert_close(norm(maps), expected)
    assert all(isinstance(projector[-1], ChannelNorm) for projector in network.projectors)


def test_positions_are_sines_and_cosines_of_column_and_row():
    found = positions((3, 4), torch.empty(1, 12, 16, dtype=torch.float64))
    for token, (row, column) in enumerate((row, column) for row in range(3) for column in range(4)):
        for half, place in ((0, column), (8, row)):
            for wave in range(4):
                phase = place / 10000 ** (wave / 4)
                assert float(found[token, half + wave]) == pytest.approx(math.sin(phase))
                assert float(found[token, half + 4 + wave]) == pytest.approx(math.cos(phase))


@pytest.mark.parametrize('size', [(64, 96), (72, 104), (32, 32)])
def test_any_size_is_rebuilt_to_its_own(size):
    given = features(size, images=1)
    grid = tuple(round(side / 32) for side in size)
    rebuilt = rebuilder()(given, torch.zeros(1, 1, *grid))
    assert [level.shape for level in rebuilt] == [level.shape for level in given]


def test_cells_finer_than_the_deepest_level_are_possible():
    given = features((64, 64))
    rebuilt = rebuilder(cell=16)(given, torch.randint(0, 2, (2, 1, 4, 4)))
    assert [level.shape for level in rebuilt] == [level.shape for level in given]


def test_gradients_reach_all_weights_and_the_features_that_are_seen():
    network, given = rebuilder(), features()
    seed = torch.Generator().manual_seed(2)
    sum((level * torch.randn(level.shape, generator=seed)).sum() for level in network(given, visible())).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0
               for name, parameter in network.named_parameters())
    deep, hidden = given[-1].grad, (visible() == 0).expand_as(given[-1])
    assert (deep[hidden] == 0).all() and (deep[~hidden] != 0).all()
    fine = F.interpolate(visible(), size=given[0].shape[2:]).expand_as(given[0])
    assert torch.equal(given[0].grad != 0, fine == 1)


def test_gradients_agree_with_differences():
    network = rebuilder(blocks=1).double()
    given = [level.detach().double()[:1, :, :8, :8].requires_grad_() for level in features((32, 64), images=1)]
    assert torch.autograd.gradcheck(lambda *levels: network(levels, visible()[:1, :, :1, :2].double()), given,
                                    fast_mode=True)


@pytest.mark.parametrize('change', [dict(width=10), dict(heads=3), dict(cell=0), dict(blocks=0)])
def test_numbers_that_do_not_fit_are_named(change):
    (key, value), = change.items()
    with pytest.raises(ValueError, match=f'{key}={value}'):
        rebuilder(**change)
