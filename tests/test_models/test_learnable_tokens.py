"""Learnable tokens: the paper's formula, which tokens change, what learns, and that they stay in a wrapper."""
import copy

import pytest
import torch
from mmengine.registry import init_default_scope
from tiny_tuned import built, images, learnt, predicted

from mmseg_cicld.models.tuning.blocks import blocks_of
from mmseg_cicld.models.tuning.learnable_tokens import TokenChange

TOKENS = dict(type='LearnableTokens', tokens=5, rank=2)


@pytest.fixture(autouse=True)
def _mmseg():
    init_default_scope('mmseg')


def test_the_formula():
    torch.manual_seed(0)
    change, features, tokens = TokenChange(6, scale=0.5), torch.randn(2, 4, 6), torch.randn(3, 6)
    expected = torch.zeros(2, 4, 6)
    for image in range(2):
        for place in range(4):
            f = features[image, place]
            scores = torch.stack([f @ token for token in tokens]) / 6**0.5
            shares = scores.exp() / scores.exp().sum()
            mixed = sum(shares[m] * (change.of_tokens.weight @ tokens[m] + change.of_tokens.bias) for m in (1, 2))
            expected[image, place] = 0.5 * (change.of_features.weight @ (mixed + f) + change.of_features.bias)
    torch.testing.assert_close(change(features, tokens), expected)


@pytest.mark.parametrize('name', ['vit', 'mit', 'dinov3'])
def test_each_block_hands_on_changed_patches_and_everything_added_learns(name):
    tuned = learnt(built(name, TOKENS)).train()
    block, prefix, seen = blocks_of(tuned.backbone)[0], dict(vit=1, mit=0, dinov3=3)[name], []
    first, width = tuned.added.blocks[0](), tuned.added.blocks[0].B_RC.shape[1]
    block.register_forward_hook(lambda module, inputs, out: seen.append(out))
    changed = tuned(images())
    hooks = list(block._forward_hooks)
    block._forward_hooks.pop(hooks[0])
    tuned(images())
    patches = seen[1][:, prefix:]
    torch.testing.assert_close(seen[0][:, prefix:], patches + tuned.added.changes[str(width)](patches, first))
    assert torch.equal(seen[0][:, :prefix], seen[1][:, :prefix])
    sum(level.square().mean() for level in changed).backward()
    learning = {key for key, parameter in tuned.named_parameters() if parameter.requires_grad}
    assert learning == {key for key, _ in tuned.named_parameters() if key.startswith('added.')}
    assert all(parameter.grad.abs().max() > 0 for parameter in tuned.added.parameters())
    assert len(tuned.added.changes) == {'mit': 2}.get(name, 1), 'shared by the blocks of a width'
    assert not any(module.training for module in block.modules() if module is not block)


def test_they_start_close_to_the_backbone_and_a_copy_is_independent():
    plain, tuned = built('vit', None), built('vit', TOKENS)
    for one, other in zip(predicted(plain), predicted(tuned)):
        assert 0 < (one - other).abs().max() < 0.02 * one.abs().max()
    other = learnt(copy.deepcopy(tuned))
    assert not torch.equal(predicted(other)[0], predicted(tuned)[0])
    assert torch.equal(predicted(copy.deepcopy(other))[0], predicted(other)[0])


def test_they_cannot_be_merged():
    with pytest.raises(ValueError, match='LearnableTokens changes what is between the blocks.*keep the TunedBackbone'):
        built('vit', TOKENS).merge()


@pytest.mark.parametrize('options', [dict(tokens=1), dict(rank=0)])
def test_wrong_arguments_are_named(options):
    with pytest.raises(ValueError, match='allowed are tokens of at least 2'):
        built('vit', dict(TOKENS, **options))
