"""Codes of classes and the distance-aware correction of label diffusion, against direct formulas."""
import math

import pytest
import torch
from tiny_latent_head import CLASSES, MODES, build, features, grad, keyed_losses, labels

from mmseg_cicld.models.diffusion.class_codes import distance_aware_correction, spread_codes


@pytest.mark.parametrize('classes, channels', [(19, 64), (8, 64), (4, 4), (19, 16)])
def test_spread_codes_are_of_mean_square_one_and_far_from_each_other(classes, channels):
    codes = spread_codes(classes, channels)
    torch.testing.assert_close(codes.square().mean(dim=1), torch.ones(classes, dtype=torch.float64))
    cosines = codes @ codes.T / channels - torch.eye(classes)
    assert float(cosines.abs().max()) < (1e-9 if classes <= channels else 0.7)
    assert torch.equal(codes, spread_codes(classes, channels))


def test_spread_codes_of_more_classes_than_channels_are_the_kronecker_sequence():
    codes = spread_codes(3, 2)
    for k, code in enumerate(codes, start=1):
        points = [math.modf(0.5 + k * math.modf(math.sqrt(prime))[0])[0] for prime in (2, 3)]
        values = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(points, dtype=torch.float64))
        torch.testing.assert_close(code, values / values.square().mean().sqrt(), rtol=1e-6, atol=1e-6)


def test_correction_pulls_to_the_own_code_and_pushes_from_the_others():
    codes = torch.tensor([[1., 1.], [1., -1.]], dtype=torch.float64)
    estimate, shares = torch.tensor([0.5, 0.1], dtype=torch.float64), torch.tensor([0.75, 0.25], dtype=torch.float64)
    clean = shares @ codes
    found = distance_aware_correction(estimate[None, :, None, None], clean[None, :, None, None], codes,
                                      shares[None, :, None, None])[0, :, 0, 0]
    expected = (clean - estimate) / math.sqrt(float((clean - estimate).square().mean()))
    for code, share in zip(codes, shares):
        distance = math.sqrt(float((estimate - code).square().mean()))
        expected = expected + (1 - share) * math.exp(-distance**2) / distance * (estimate - code)
    torch.testing.assert_close(found, expected)
    near = distance_aware_correction((codes[0] + 1e-4)[None, :, None, None], codes[0][None, :, None, None], codes[:1],
                                     torch.ones(1, 1, 1, 1, dtype=torch.float64))
    assert float(near.square().mean()) == pytest.approx(1)  # where the gradient of the mean square is gone


def test_corrected_noise_loss_is_that_of_the_corrected_latent():
    plain, corrected = (build(**{**MODES['spread_label'], 'training': dict(class_codes='spread', correction=factor)})
                        for factor in (0.0, 0.5))
    estimate = corrected.estimate(features()[2], (11, 12), labels())
    clean = corrected.label_latent(labels(), (4, 4))
    moved = clean + 0.5 * corrected.label_latent.correction(estimate.clean_BChw, clean, labels())
    noise = corrected.noising
    predicted = noise.target(estimate.clean_BChw, estimate.noise_BChw, estimate.timesteps_B)
    target = noise.target(moved, estimate.true_noise_BChw, estimate.timesteps_B)
    losses = keyed_losses(corrected, features())
    torch.testing.assert_close(losses['loss_noise'], (predicted - target).square().mean())
    assert losses['loss_noise'] != keyed_losses(plain, features())['loss_noise']


def test_correction_gives_no_gradient_of_its_own_and_no_code_learns():
    head = build(**MODES['spread_label'])
    keyed_losses(head, features())['loss_noise'].backward()
    assert grad(head.denoiser) > 0 and not list(head.label_latent.parameters())
    assert not [name for name in head.state_dict() if 'codes' in name]
    assert head.label_latent.codes_KC.shape == (CLASSES, 4)


def test_ignored_places_are_not_corrected():
    head = build(**MODES['spread_label'])
    ignored = torch.full((1, 32, 32), 255)
    clean = head.label_latent(ignored, (4, 4))
    assert head.label_latent.correction(torch.randn(1, 4, 4, 4), clean, ignored).abs().sum() == 0
