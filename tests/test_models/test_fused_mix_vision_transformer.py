"""The MiT backbone against mmseg's own, whose tensors it shares."""
import re

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from mmseg_cicld.models.backbones.mit_variants import MIT_VARIANTS

TINY = dict(embed_dims=8, num_layers=(1, 2, 1, 1), num_heads=(1, 2, 5, 8))


def pair(**options):
    torch.manual_seed(0)
    ours = MODELS.build(dict(type='FusedMixVisionTransformer', **TINY, **options)).double()
    stock = MODELS.build(dict(type='MixVisionTransformer', sr_ratios=(8, 4, 2, 1), patch_sizes=(7, 3, 3, 3), **TINY))
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.3)
    stock.double().load_state_dict(ours.state_dict(), strict=True)
    return ours.eval(), stock.eval()


def outputs_and_gradients(network, images):
    images = images.clone().requires_grad_()
    features = network(images)
    loss = sum(feature.sin().sum() for feature in features)
    return [*features, *torch.autograd.grad(loss, [images, *network.parameters()])]


def largest_difference(first, second):
    return max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_equals_stock_backbone_with_equal_norm_constants(memory_format):
    ours, stock = pair()
    for module in stock.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-6
    for module in ours.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-6
    images = torch.randn(2, 3, 75, 101, dtype=torch.float64)
    expected = outputs_and_gradients(stock, images)
    got = outputs_and_gradients(ours.to(memory_format=memory_format), images.to(memory_format=memory_format))
    assert largest_difference(got, expected) < 1e-10


def test_norm_constants_are_the_published_ones_and_stock_ones_move_little():
    ours, stock = pair()
    eps = {name: module.eps for name, module in ours.named_modules() if isinstance(module, nn.LayerNorm)}
    embeddings = {name for name in eps if name.endswith('.attn.norm') or name.split('.')[3:] == ['norm']}
    assert len(embeddings) == 4 + 4  # one for each patch embedding, and for each block of the first three stages
    assert all(value == (1e-5 if name in embeddings else 1e-6) for name, value in eps.items())
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        difference = largest_difference(ours(images), stock(images))
    assert 1e-8 < difference < 1e-2


def test_checkpointing_is_exact_without_drop_path():
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    results = [outputs_and_gradients(pair(with_cp=with_cp, drop_path_rate=0.0)[0].train(), images)
               for with_cp in (False, True)]
    assert largest_difference(*results) == 0


def test_drop_path_grows_over_the_blocks():
    ours, _ = pair(drop_path_rate=0.1)
    rates = [block.attn.dropout_layer.drop_prob for stage in ours.layers for block in stage[1]]
    assert rates == pytest.approx([0.0, 0.025, 0.05, 0.075, 0.1])


def test_attention_without_bias_and_with_dropout():
    torch.manual_seed(0)
    network = MODELS.build(dict(type='FusedMixVisionTransformer', **TINY, qkv_bias=False, attn_drop_rate=0.5))
    images = torch.randn(1, 3, 64, 64)
    network.train()
    assert not torch.equal(network(images)[0], network(images)[0])
    network.eval()
    assert torch.equal(network(images)[0], network(images)[0])


@pytest.mark.parametrize('arguments, message', [
    (dict(variant='b6'), "backbone.variant is 'b6', must be one of"),
    (dict(), 'needs either variant'),
    (dict(variant='b0', embed_dims=8), 'sets embed_dims and num_layers already'),
])
def test_wrong_size_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='FusedMixVisionTransformer', **arguments))


@pytest.mark.parametrize('head', [
    dict(type='SegformerHead', in_channels=[8, 16, 40, 64], in_index=[0, 1, 2, 3], channels=16),
    dict(type='UPerHead', in_channels=[8, 16, 40, 64], in_index=[0, 1, 2, 3], channels=16, pool_scales=(1, 2)),
    dict(type='DepthwiseSeparableASPPHead', in_channels=64, in_index=3, channels=16, dilations=(1, 2),
         c1_in_channels=8, c1_channels=8),
])
def test_stock_heads_train_on_it(head):
    segmentor = MODELS.build(dict(
        type='EncoderDecoder', backbone=dict(type='FusedMixVisionTransformer', **TINY),
        decode_head=dict(num_classes=3, norm_cfg=dict(type='BN'), **head)))
    logits = segmentor(torch.randn(2, 3, 64, 64), mode='tensor')
    logits.square().mean().backward()
    assert logits.shape[:2] == (2, 3)
    assert all(parameter.grad is not None for parameter in segmentor.parameters())


def test_table_of_variants_names_files_by_their_hash():
    assert sorted(MIT_VARIANTS) == ['b0', 'b1', 'b2', 'b3', 'b4', 'b5']
    for name, variant in MIT_VARIANTS.items():
        assert re.search(rf'/mit_{name}_\d{{8}}-[0-9a-f]{{8}}\.pth$', variant.weights_url)
