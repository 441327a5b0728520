"""ViT adapter of VFM-UDA++: deformable attention against a loop, where tokens meet maps, and what it is at the start."""
import copy
import math

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from tiny_transformers import CONVNEXT, DINOV2, DINOV3, VITS, tiny_network

from mmseg_cicld.models import ViTAdapterBackbone
from mmseg_cicld.models.backbones.deformable_attention import DeformableAttention
from mmseg_cicld.models.backbones.vit_adapter_layers import STRIDES, Geometry
from mmseg_cicld.models.map_geometry import cropped_map, resampled_map

SMALL = dict(inplanes=8, head_channels=16)


def adapter(vit: dict, moved: bool = True, **options) -> ViTAdapterBackbone:
    """An adapter whose injectors do something, if ``moved``."""
    vit = vit if 'model' in vit else dict(model=vit)
    network = MODELS.build(dict(type='ViTAdapterBackbone', vit=vit, **{**SMALL, **options}))
    network.init_weights()
    generator = torch.Generator().manual_seed(0)
    if moved:
        for part in network.injectors:
            part.gamma.data.normal_(generator=generator)
    return network.eval()


def images(height: int, width: int) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_deformable_attention_is_the_sum_over_the_places_that_it_reads():
    torch.manual_seed(0)
    sizes, heads, points = [(4, 5), (2, 3)], 2, 3
    module = DeformableAttention(8, heads, len(sizes), points, ratio=0.5).double()
    for parameter in module.parameters():
        parameter.data.normal_(std=0.5)
    queries, keys = torch.randn(2, 7, 8).double(), torch.randn(2, 26, 8).double()
    places = torch.rand(7, 2, 2).double()
    values, offsets = module.values(keys), module.offsets(queries).view(2, 7, heads, 2, points, 2)
    weights = module.weights(queries).view(2, 7, heads, 2 * points).softmax(-1).view(2, 7, heads, 2, points)
    expected = torch.zeros(2, 7, 4).double()
    for image in range(2):
        starts = (0, 20)
        for query, head, level, point in [(q, m, lv, k) for q in range(7) for m in range(heads) for lv in range(2)
                                          for k in range(points)]:
            rows, columns = sizes[level]
            x = float(places[query, level, 0] * columns + offsets[image, query, head, level, point, 0]) - 0.5
            y = float(places[query, level, 1] * rows + offsets[image, query, head, level, point, 1]) - 0.5
            for row in (math.floor(y), math.floor(y) + 1):
                for column in (math.floor(x), math.floor(x) + 1):
                    if 0 <= row < rows and 0 <= column < columns:  # nothing lies outside
                        share = (1 - abs(y - row)) * (1 - abs(x - column)) * weights[image, query, head, level, point]
                        channels = slice(2 * head, 2 * head + 2)
                        expected[image, query, channels] += share * values[image, starts[level] + row * columns + column,
                                                                           channels]
    torch.testing.assert_close(module(queries, places, keys, sizes), module.output(expected))


def test_attention_begins_with_even_weights_and_a_direction_for_each_head():
    module = DeformableAttention(16, 4, 2, points=3)
    assert not module.offsets.weight.any() and not module.weights.weight.any() and not module.weights.bias.any()
    offsets = module.offsets.bias.view(4, 2, 3, 2)
    expected = torch.tensor([(1., 0.), (0., 1.), (-1., 0.), (0., -1.)])
    for point in range(3):
        torch.testing.assert_close(offsets[:, :, point], expected[:, None].expand(4, 2, 2) * (point + 1))
    with pytest.raises(ValueError, match='8 channels of values cannot be divided among 3 heads'):
        DeformableAttention(16, 3, 1, ratio=0.5)


@pytest.mark.parametrize('size', [(112, 224), (42, 70)])
def test_tokens_and_pyramid_meet_by_their_pixels(size):
    geometry = Geometry.of(size, 14, torch.device('cpu'))
    assert geometry.grid == (size[0] // 14, size[1] // 14)
    assert geometry.sizes == tuple((-(-size[0] // stride), -(-size[1] // stride)) for stride in STRIDES)
    columns = geometry.grid[1]
    for level, stride in enumerate(STRIDES):  # the token in row 1, column 2 lies at x = 35, y = 21 pixels
        places = geometry.of_tokens_NL2[columns + 2, level] * torch.tensor(geometry.sizes[level][::-1]) * stride
        torch.testing.assert_close(places, torch.tensor([35., 21.]))
    first = geometry.of_pyramid_Q12[geometry.sizes[0][1] + 3, 0] * torch.tensor(size[::-1])  # row 1, column 3 of stride 8
    torch.testing.assert_close(first, torch.tensor([28., 12.]))
    last = geometry.of_pyramid_Q12[-1, 0] * torch.tensor(size[::-1])
    torch.testing.assert_close(last, torch.tensor([(side - 0.5) * 32. for side in geometry.sizes[2][::-1]]))


@torch.no_grad()
@pytest.mark.parametrize('size', [(5, 7), (12, 3)])
def test_a_resampled_map_is_torchs_interpolation(size):
    maps = images(6, 6)
    strides = [6 / side for side in size]  # both cover the same pixels
    torch.testing.assert_close(resampled_map(maps, 1, size, strides),
                               F.interpolate(maps, size=size, mode='bilinear', align_corners=False))


@torch.no_grad()
@pytest.mark.parametrize('family', VITS)
def test_at_the_start_the_transformer_is_untouched_and_its_outputs_are_added(family):
    network = adapter(VITS[family], moved=False)
    network.vit.model.load_state_dict(tiny_network(VITS[family]).state_dict())
    patch = network.patch_size
    batch = images(4 * patch, 6 * patch)
    outputs = network.vit(batch)  # of the four quarters, without the final norm
    silent = copy.deepcopy(network)
    silent.vit.as_map = lambda tokens, size: torch.zeros(2, 32, 4, 6)
    for norm in [*network.norms, *silent.norms]:
        norm.running_var.fill_(1 - norm.eps)
    for level, without, output, stride in zip(network(batch), silent(batch), outputs, (4, 8, 16, 32), strict=True):
        rows, columns = (-(-side // stride) for side in batch.shape[2:])
        added = cropped_map(resampled_map(output, patch, (rows, columns), (stride, stride)), stride, batch.shape[2:])
        torch.testing.assert_close(level - without, added, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_interaction_is_injector_blocks_extractor_for_each_quarter():
    network = adapter({**DINOV3, 'num_hidden_layers': 8})
    assert network.ends == (1, 3, 5, 7)
    batch = images(64, 96)
    geometry = Geometry.of((64, 96), 16, torch.device('cpu'))
    pyramid = torch.randn(2, 8 * 12 + 4 * 6 + 2 * 3, 32)
    model, expected = network.vit.model, pyramid
    tokens, positions = model.embeddings(batch), model.rope_embeddings(batch)
    outputs = []
    for quarter in range(4):
        patches = network.injectors[quarter](tokens[:, 5:], expected, geometry)
        tokens = torch.cat([tokens[:, :5], patches], dim=1)
        for block in network.blocks[2 * quarter:2 * quarter + 2]:
            tokens = block(tokens, position_embeddings=positions)
        outputs.append(tokens)
        expected = network.extractors[quarter](expected, tokens[:, 5:], geometry)
    for extractor in network.extra_extractors:
        expected = extractor(expected, tokens[:, 5:], geometry)
    found, between = network._interact(batch, pyramid, geometry)
    assert torch.equal(found, expected) and all(map(torch.equal, between, outputs)) and len(network.extra_extractors) == 2


@torch.no_grad()
@pytest.mark.parametrize('model, scale, size', [(DINOV2, 1, (112, 112)), (DINOV2, 1, (75, 98)), (DINOV3, 1, (33, 65)),
                                                (DINOV2, 14 / 16, (64, 96))])
def test_levels_have_the_rounded_up_share_of_places_for_any_size(model, scale, size):
    network = adapter(dict(model=model, scale=scale))
    levels = network(images(*size))
    assert network.out_channels == [32] * 4 and network.embed_dims == 32
    for level, stride in zip(levels, (4, 8, 16, 32), strict=True):
        assert tuple(level.shape) == (2, 32, *(-(-round(side * scale) // stride) for side in size))
        assert level.isfinite().all()


def test_every_trained_parameter_gets_a_gradient_and_recomputing_changes_none():
    plain = adapter(DINOV2).train()
    recomputed = adapter(DINOV2, with_cp=True).train()
    recomputed.load_state_dict(plain.state_dict())
    for network in (plain, recomputed):
        sum(level.square().mean() for level in network(images(56, 70))).backward()
    trained = {name for name, parameter in plain.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, parameter in plain.named_parameters() if parameter.grad is not None}
    assert 'vit.model.layernorm.weight' not in trained
    for (name, one), other in zip(plain.named_parameters(), recomputed.parameters()):
        assert one.grad is None or torch.equal(one.grad, other.grad), name


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match='is a DINOv3ConvNextBackbone with 4 blocks or stages: the adapter takes a plain'):
        adapter(CONVNEXT)
    with pytest.raises(ValueError, match=r"vit has \['out_indices'\], which the adapter sets"):
        adapter(dict(model=DINOV2, out_indices=[1]))
    with pytest.raises(ValueError, match='with 3 blocks'):
        adapter({**DINOV2, 'num_hidden_layers': 3})
