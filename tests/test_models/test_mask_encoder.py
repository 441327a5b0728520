import pytest
import torch
from mmseg.registry import MODELS
from mmseg.utils import get_palette

import mmseg_cicld  # noqa: F401
from mmseg_cicld.models.diffusion.mask_encoder import class_shares

BACKBONE = dict(type='ResNetV1c', depth=18, stem_channels=4, base_channels=4)
COLOURED = dict(type='ColourMaskEncoder', backbone=BACKBONE, backbone_channels=32, num_classes=19, channels=6,
                render_size=(64, 64))
EMBEDDED = dict(type='ClassEmbeddingMaskEncoder', num_classes=19, channels=6)


def mask():
    labels = torch.randint(0, 19, (2, 32, 32), generator=torch.Generator().manual_seed(0))
    labels[0, :16, :16] = 255
    labels[1, 3, 3] = 255
    return labels


def test_shares_count_pixels_of_a_place():
    labels, expected = mask(), torch.zeros(2, 19, 2, 2)
    for image in range(2):
        for row in range(32):
            for column in range(32):
                if labels[image, row, column] != 255:
                    expected[image, labels[image, row, column], row // 16, column // 16] += 1 / 256
    torch.testing.assert_close(class_shares(labels, 19, (2, 2), 255), expected)


def test_embedded_tokens_are_the_shares_times_the_embedding():
    encoder = MODELS.build(EMBEDDED)
    shares = class_shares(mask(), 19, (2, 2), 255).flatten(2).transpose(1, 2)
    torch.testing.assert_close(encoder(mask(), (2, 2)), shares @ encoder.embedding.weight.T)


@pytest.mark.parametrize('config', [EMBEDDED, COLOURED])
def test_a_place_of_ignored_pixels_is_the_null_condition(config):
    tokens = MODELS.build(config)(mask(), (2, 2))
    assert tokens.shape == (2, 4, 6)
    assert tokens[0, 0].abs().sum() == 0
    assert (tokens[1].abs().sum(1) > 0).all() and (tokens[0, 1:].abs().sum(1) > 0).all()


def test_renders_the_palette_normalised_and_ignored_pixels_black():
    encoder = MODELS.build(dict(COLOURED, render_size=(32, 32)))
    picture = encoder.render(mask())
    restored = picture * torch.tensor(encoder.STD)[:, None, None] + torch.tensor(encoder.MEAN)[:, None, None]
    colours = torch.tensor([*get_palette('cityscapes'), *[[0, 0, 0]] * 237]).float()
    torch.testing.assert_close(restored.permute(0, 2, 3, 1), colours[mask()], atol=1e-3, rtol=0)


def test_size_of_the_mask_does_not_change_what_the_frozen_encoder_sees():
    encoder = MODELS.build(COLOURED)
    assert torch.equal(encoder.render(mask()), encoder.render(mask().repeat_interleave(2, 1).repeat_interleave(2, 2)))


def test_only_the_projection_of_the_colour_encoder_learns_and_its_norms_stand_still():
    encoder = MODELS.build(COLOURED).train()
    before = {name: tensor.clone() for name, tensor in encoder.backbone.state_dict().items()}
    encoder(mask(), (2, 2)).square().sum().backward()
    assert {name for name, p in encoder.named_parameters() if p.grad is not None} == {'projection.weight'}
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.backbone.state_dict().items())
    assert not encoder.backbone.training


def test_colour_encoder_loads_weights_as_any_backbone_does(tmp_path):
    weights = MODELS.build(BACKBONE).state_dict()
    torch.save(weights, tmp_path / 'weights.pth')
    init_cfg = dict(type='VerifiedPretrained', checkpoint=str(tmp_path / 'weights.pth'))
    encoder = MODELS.build(dict(COLOURED, backbone=dict(BACKBONE, init_cfg=init_cfg)))
    encoder.init_weights()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in encoder.backbone.state_dict().items())


def test_refuses_a_palette_of_other_classes():
    with pytest.raises(ValueError, match='palette has 19 colours for 5 classes: give one RGB colour a class'):
        MODELS.build(dict(COLOURED, num_classes=5))
