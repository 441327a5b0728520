"""Published names of MiT tensors and ours, both ways."""
import pytest
import torch
from mmseg.registry import MODELS

from mmseg_cicld.models.checkpoint_names import (CheckpointNameError, ours_to_reference, published_parts,
                                                 reference_to_ours)

TINY = dict(type='FusedMixVisionTransformer', embed_dims=4, num_layers=(1, 2, 1, 1))


@pytest.fixture(params=['', 'backbone.'])
def state(request):
    return {request.param + name: torch.randn_like(tensor) for name, tensor in MODELS.build(TINY).state_dict().items()}


def test_round_trip_loses_nothing(state):
    published = ours_to_reference(state)
    back = reference_to_ours(published)
    assert set(back) == set(state) and all(torch.equal(back[name], state[name]) for name in state)


def test_every_published_tensor_is_used_once(state):
    published = ours_to_reference(state)
    parts = published_parts(published)
    assert sorted(name for found in parts.values() for name in found) == sorted(published)
    assert set(parts) == set(state)


def test_published_names_and_shapes(state):
    prefix = 'backbone.' if 'backbone.layers.0.2.weight' in state else ''
    published = {name: tuple(tensor.shape) for name, tensor in ours_to_reference(state).items()}
    block = f'{prefix}block2.1.'
    assert {name: shape for name, shape in published.items() if name.startswith(block) and name.endswith('weight')} == {
        block + 'norm1.weight': (8, ), block + 'norm2.weight': (8, ), block + 'attn.q.weight': (8, 8),
        block + 'attn.kv.weight': (16, 8), block + 'attn.proj.weight': (8, 8), block + 'attn.sr.weight': (8, 8, 4, 4),
        block + 'attn.norm.weight': (8, ), block + 'mlp.fc1.weight': (32, 8), block + 'mlp.fc2.weight': (8, 32),
        block + 'mlp.dwconv.dwconv.weight': (32, 1, 3, 3)}
    outer = ('patch_embed4.proj.bias', 'patch_embed1.norm.weight', 'norm3.bias')
    assert {prefix + name for name in outer} <= set(published)


def test_names_outside_of_the_transformer_stay():
    state = {'decode_head.conv_seg.weight': torch.ones(1), 'backbone.layer1.0.conv1.weight': torch.ones(1),
             'backbone.stem.0.weight': torch.ones(1)}
    assert reference_to_ours(state) == state == ours_to_reference(state)


@pytest.mark.parametrize('convert, names, message', [
    (reference_to_ours, ['block1.0.attn.q.weight'], 'has block1.0.attn.q.weight but not block1.0.attn.kv.weight'),
    (reference_to_ours, ['block1.0.attn.kv.bias'], 'has block1.0.attn.kv.bias but not block1.0.attn.q.bias'),
    (reference_to_ours, ['norm1.weight', 'layers.0.2.weight'],
     'several tensors that are layers.0.2.weight today: norm1.weight, layers.0.2.weight'),
    (reference_to_ours, ['block1.0.attn.q.bias', 'block1.0.attn.kv.bias', 'layers.0.1.0.attn.attn.in_proj_bias'],
     'several tensors that are layers.0.1.0.attn.attn.in_proj_bias today'),
    (reference_to_ours, ['block1.0.wings'], 'has block1.0.wings, which is no tensor of a Mix Transformer'),
    (ours_to_reference, ['layers.0.1.0.wings'], 'has layers.0.1.0.wings'),
])
def test_unknown_tensors_are_named(convert, names, message):
    with pytest.raises(CheckpointNameError, match=message):
        convert({name: torch.ones(3) for name in names})
