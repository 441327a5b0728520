import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

import mmseg_cicld  # noqa: F401
from mmseg_cicld.models.decode_heads.inter_coder_decoder import InterCoderDecoder

CHANNELS = (8, 16, 32)
NECK = dict(type='InterCoderNeck', in_channels=CHANNELS, latent_channels=4, latent_index=1, skip_channels=(6, 5))


def levels(sizes=(16, 8, 4)):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, channels, size, size, generator=generator) for channels, size in zip(CHANNELS, sizes)]


def test_gives_a_skip_for_each_stage_and_the_latent_last():
    skip_0, skip_1, latent = MODELS.build(NECK)(levels())
    assert skip_0.shape == (2, 6, 16, 16) and skip_1.shape == (2, 5, 8, 8) and latent.shape == (2, 4, 8, 8)


def test_skips_are_normalised_so_that_no_level_drowns_another():
    neck, features = MODELS.build(NECK), levels()
    raw = torch.einsum('bchw,oc->bohw', features[0], neck.skips[0].conv.weight[:, :, 0, 0])
    mean, variance = raw.mean((0, 2, 3), keepdim=True), raw.var((0, 2, 3), unbiased=False, keepdim=True)
    expected = ((raw - mean) / (variance + 1e-5).sqrt()).relu()
    torch.testing.assert_close(neck(features)[0], expected)
    torch.testing.assert_close(neck([100 * level for level in features])[0], expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize('norm, kind', [
    (dict(type='GN', num_groups=1), 'GroupNorm'),
    (None, 'BatchNorm2d'),
], ids=['given', 'default'])
def test_norm_of_the_skips_is_the_one_of_the_config(norm, kind):
    neck = MODELS.build(dict(NECK, norm_cfg=norm))
    assert [type(part).__name__ for part in neck.skips[1].children()] == ['Conv2d', kind, 'ReLU']


def test_latent_is_the_normalised_projection_of_its_level_and_the_coarser_ones():
    neck, features = MODELS.build(NECK), levels()
    coarse = F.interpolate(features[2], size=(8, 8), mode='bilinear', align_corners=False)
    raw = F.conv2d(torch.cat([features[1], coarse], 1), neck.latent.weight, neck.latent.bias)
    flat = raw.flatten(1)
    expected = (flat - flat.mean(1, keepdim=True)) / (flat.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(neck(features)[-1].flatten(1), expected)


def test_scale_of_the_features_cannot_drown_the_noise():
    neck, features = MODELS.build(NECK), levels()
    neck.latent.bias.data.zero_()
    large = [100 * level for level in features]
    torch.testing.assert_close(neck(features)[-1], neck(large)[-1], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize('index, size', [(0, 16), (2, 4)])
def test_stride_of_the_latent_is_that_of_its_level(index, size):
    neck = MODELS.build(dict(NECK, latent_index=index, skip_channels=[3] * (index + 1)))
    *skips, latent = neck(levels())
    assert len(skips) == index + 1 and latent.shape[2:] == (size, size)


def test_without_connection_there_is_only_the_latent():
    connected, alone = MODELS.build(NECK), MODELS.build(dict(NECK, connect=False))
    alone.load_state_dict(connected.state_dict(), strict=False)
    assert not [name for name, _ in alone.named_parameters() if 'skip' in name]
    out = alone(levels())
    assert len(out) == 1
    torch.testing.assert_close(out[0], connected(levels())[-1])


def test_skips_carry_gradient_to_their_level_only():
    features = [level.requires_grad_() for level in levels()]
    MODELS.build(NECK)(features)[0].sum().backward()
    assert features[0].grad.abs().sum() > 0 and features[1].grad is None and features[2].grad is None


@pytest.mark.parametrize('backbone, channels', [
    (dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=8), (8, 16, 32, 64)),
    (dict(type='FusedMixVisionTransformer', embed_dims=8, num_layers=(1, 1, 1, 1)), (8, 16, 40, 64)),
])
def test_takes_the_features_of_any_backbone(backbone, channels):
    features = MODELS.build(backbone)(torch.randn(1, 3, 64, 64))
    out = MODELS.build(dict(NECK, in_channels=channels))(features)
    assert [tuple(part.shape[1:]) for part in out] == [(6, 16, 16), (5, 8, 8), (4, 8, 8)]


def test_decoder_is_a_convolution_of_1x1_a_stage_coarsest_first():
    decoder = InterCoderDecoder(4, [6, 5], [8, 7], norm_cfg=None, act_cfg=dict(type='ReLU'))
    latent, fine, coarse = torch.randn(2, 4, 4, 6), torch.randn(2, 6, 8, 12), torch.randn(2, 5, 4, 6)
    x = torch.cat([latent, coarse], 1)
    for stage, skip in zip(decoder.stages, (fine, None)):
        x = (torch.einsum('bchw,oc->bohw', x, stage.conv.weight[:, :, 0, 0]) + stage.conv.bias[:, None, None]).relu()
        if skip is not None:
            x = torch.cat([F.interpolate(x, size=(8, 12), mode='bilinear', align_corners=False), skip], 1)
    torch.testing.assert_close(decoder(latent, [fine, coarse]), x)


@pytest.mark.parametrize('skips, widths', [([], [8, 7]), ([6, 5], [8 + 5, 7 + 6])], ids=['apart', 'connected'])
def test_skips_make_the_stages_of_the_decoder_wider(skips, widths):
    decoder = InterCoderDecoder(4, skips, [8, 7], norm_cfg=None, act_cfg=dict(type='ReLU'))
    given, found = [torch.randn(1, width, size, size) for width, size in zip(skips, (8, 4))], []
    for stage in decoder.stages:
        stage.register_forward_hook(lambda module, args, output: found.append(output.shape[1]))
    assert decoder(torch.randn(1, 4, 4, 4), given).shape == (1, widths[-1], 8, 8)
    assert found == decoder.widths == widths


@pytest.mark.parametrize('change, message', [
    (dict(latent_index=3), 'latent_index is 3.*allowed are 0 to 2'),
    (dict(skip_channels=(6, 5, 4)), 'skip_channels has 3 entries; a latent at level 1 takes 2'),
])
def test_refuses_settings_that_contradict_each_other(change, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build({**NECK, **change})


def test_refuses_features_of_another_width():
    with pytest.raises(ValueError, match=r'levels of \(8, 16, 32\) channels, but neck.in_channels is \(8, 16, 64\)'):
        MODELS.build(dict(NECK, in_channels=(8, 16, 64)))(levels())
