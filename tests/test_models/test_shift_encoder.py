"""Shift encoders and reconstruction on the features of every backbone family."""
import copy
import math

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import nn

from mmseg_cicld.models.diffusion.reconstruction import LogitReconstruction, ReconstructionHead, shrink_target
from mmseg_cicld.models.diffusion.shift_encoder import (FeatureEncoder, FeatureLevel, SeparateShiftEncoder,
                                                        SharedShiftEncoder, TimeModulation, feature_levels)

NORM = dict(type='BN')
HEAD = dict(type='FCNHead', in_channels=64, in_index=-1, channels=8, num_convs=1, num_classes=19, norm_cfg=NORM)
BACKBONES = dict(
    mit=dict(type='FusedMixVisionTransformer', embed_dims=8, num_layers=(1, 1, 1, 1), num_heads=(1, 2, 4, 8)),
    mit_mmseg=dict(type='MixVisionTransformer', embed_dims=8, num_stages=4, num_layers=[1] * 4, num_heads=[1, 2, 4, 8]),
    resnet=dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=8, dilations=(1, 1, 2, 4),
                strides=(1, 2, 1, 1), norm_cfg=NORM, contract_dilation=True),
    vit=dict(type='VisionTransformer', img_size=(64, 64), patch_size=16, embed_dims=64, num_layers=2, num_heads=2,
             out_indices=(0, 1), with_cls_token=True, mlp_ratio=2),
    autoencoder=dict(type='AutoencoderEncoder', autoencoder=dict(
        block_out_channels=(8, 16, 64), down_block_types=('DownEncoderBlock2D', ) * 3, norm_num_groups=4,
        up_block_types=('UpDecoderBlock2D', ) * 3, layers_per_block=1)))
LEVELS = dict(
    mit=[(8, 4), (16, 8), (32, 16), (64, 32)], mit_mmseg=[(8, 4), (16, 8), (32, 16), (64, 32)],
    resnet=[(8, 4), (16, 8), (32, 8), (64, 8)], vit=[(64, 16), (64, 16)],
    autoencoder=[(8, 1), (16, 2), (64, 4)])


def segmentor(backbone: str, **more) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(dict(
        type='EncoderDecoder', backbone=BACKBONES[backbone], decode_head=HEAD, test_cfg=dict(mode='whole'),
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[128.] * 3, std=[64.] * 3, size=(64, 64)),
        **more)).train()


def stir(module: nn.Module) -> None:
    """Moves the modulation away from its start, where it does nothing."""
    for parameter in module.modulation.parameters():
        nn.init.normal_(parameter, std=0.3)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('backbone', BACKBONES)
def test_levels_are_known_without_a_forward_pass(backbone):
    network = segmentor(backbone)
    before = copy.deepcopy(network.state_dict())
    assert feature_levels(network) == LEVELS[backbone]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert network.training and next(network.parameters()).device.type == 'cpu'


def test_levels_of_a_single_pixel_are_known_too():
    """Batch norms in training refuse one image with one pixel."""
    network = segmentor('resnet', neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=8, num_outs=4,
                                            norm_cfg=dict(type='BN')))
    network.data_preprocessor.size = (8, 8)
    assert feature_levels(network) == [(8, 4), (8, 8), (8, 8), (8, 8)]


def test_modulation_is_the_direct_formula():
    torch.manual_seed(0)
    modulation = TimeModulation([4, 6])
    for parameter in modulation.parameters():
        nn.init.normal_(parameter, std=0.2)
    features, levels = (torch.randn(2, 4, 5, 5), torch.randn(2, 6, 3, 3)), torch.tensor([3, 70])
    waves = torch.tensor([[wave(t / 10000**(i / 8)) for wave in (math.sin, math.cos) for i in range(8)]
                          for t in (3, 70)])
    first, second = modulation.embedding.linear_1, modulation.embedding.linear_2
    embedded = second(F.gelu(first(waves)))
    for feature, layer, out in zip(features, modulation.scale_and_shift, modulation(features, levels)):
        values = layer[1](F.silu(embedded))
        channels = feature.shape[1]
        scale, shift = values[:, :channels, None, None], values[:, channels:, None, None]
        torch.testing.assert_close(out, feature * (scale + 1) + shift)


def test_modulation_starts_as_the_identity():
    features = (torch.randn(2, 4, 5, 5), )
    assert torch.equal(TimeModulation([4])(features, torch.tensor([0, 99]))[0], features[0])


def compensated(shift_encoder, images):
    """What a shift encoder adds to features of zero."""
    return shift_encoder((torch.zeros(()), ) * 4, shift_encoder.shifts(images), torch.tensor([1, 2]))


@pytest.mark.parametrize('backbone', BACKBONES)
def test_separate_encoder_adds_modulated_features(backbone, images):
    network = segmentor(backbone)
    shift_encoder, levels = SeparateShiftEncoder(network, recompute=False), torch.tensor([5, 90])
    stir(shift_encoder)
    torch.manual_seed(3)  # stochastic depth draws
    shifts = shift_encoder.shifts(images)
    features = FeatureEncoder(network)(images)
    torch.manual_seed(3)
    expected = shift_encoder.modulation(FeatureEncoder(network)(images), levels)
    for level, shift, out in zip(features, expected, shift_encoder(features, shifts, levels), strict=True):
        torch.testing.assert_close(out, level + shift)


@pytest.mark.parametrize('backbone', BACKBONES)
def test_shared_encoder_modulates_the_given_features(backbone, images):
    network = segmentor(backbone)
    shift_encoder, levels = SharedShiftEncoder(network), torch.tensor([5, 90])
    stir(shift_encoder)
    features = FeatureEncoder(network)(images)
    for one, other in zip(shift_encoder(features, shift_encoder.shifts(images), levels),
                          shift_encoder.modulation(features, levels)):
        assert torch.equal(one, other)
    assert {name.split('.')[0] for name, _ in shift_encoder.named_parameters()} == {'modulation'}


def test_separate_encoder_is_a_copy_that_goes_its_own_way(images):
    network = segmentor('mit')
    shift_encoder = SeparateShiftEncoder(network, recompute=False)
    assert all(torch.equal(value, shift_encoder.encoder.backbone.state_dict()[name])
               for name, value in network.backbone.state_dict().items())
    compensated(shift_encoder, images)[0].sum().backward()
    assert all(parameter.grad is None for parameter in network.parameters())
    with torch.no_grad():
        next(network.backbone.parameters()).add_(1)
    first = next(shift_encoder.encoder.backbone.parameters())
    assert not torch.equal(first, next(network.backbone.parameters()))
    shift_encoder.encoder.copy_from(network)
    assert torch.equal(first, next(network.backbone.parameters()))


def test_a_neck_belongs_to_the_encoder(images):
    neck = dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=4)
    network = segmentor('mit', neck=neck)
    assert [level.channels for level in feature_levels(network)] == [16] * 4
    shift_encoder = SeparateShiftEncoder(network, recompute=False)
    assert compensated(shift_encoder, images)[0].shape == (2, 16, 16, 16)
    shift_encoder.encoder.copy_from(network)


def test_recomputing_changes_no_gradient(images):
    gradients = []
    for recompute in (False, True):
        shift_encoder = SeparateShiftEncoder(segmentor('mit'), recompute)
        torch.manual_seed(3)
        sum(level.square().mean() for level in compensated(shift_encoder, images)).backward()
        gradients.append([parameter.grad for parameter in shift_encoder.encoder.parameters()])
    for one, other in zip(*gradients):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize('stride, target_stride, pixels', [(4, 4, 1), (4, 1, 16), (16, 4, 16), (2, 4, 1), (1, 4, 1)])
def test_own_head_predicts_the_target_s_size(stride, target_stride, pixels):
    levels = [FeatureLevel(8, stride), FeatureLevel(16, 2 * stride)]
    head = ReconstructionHead(levels, target_stride, 3)
    features = (torch.randn(2, 8, 64 // stride, 64 // stride), torch.randn(2, 16, 32 // stride, 32 // stride))
    size = (64 // target_stride, 64 // target_stride)
    assert head(features, size).shape == (2, 3, *size)
    assert head.fusion[5].out_channels == 3 * pixels
    head(features, size).sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_logits_are_projected():
    head, logits = LogitReconstruction(19, 3), torch.randn(2, 19, 32, 32)
    projected = F.conv2d(logits, head.projection.weight, head.projection.bias)
    assert torch.equal(head(logits, (32, 32)), projected)
    torch.testing.assert_close(head(logits, (8, 8)), F.avg_pool2d(projected[..., 1:, 1:], 2, stride=4))  # the middle of 4 x 4


def test_targets_are_averaged():
    target = torch.arange(16.).reshape(1, 1, 4, 4)
    assert shrink_target(target, 1) is target
    assert shrink_target(target, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_unknown_image_size_is_named():
    network = segmentor('mit')
    network.data_preprocessor.size = None
    with pytest.raises(ValueError, match='data_preprocessor.size'):
        feature_levels(network)
