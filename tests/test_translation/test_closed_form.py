"""Guided translation does what theory says, where theory gives numbers."""
import pytest
import torch
from closed_form import NUMBERS, SIZE, covariance, gaussian_diffusion, linear_guide

from mmseg_cicld.random_streams import KeyedStreams
from mmseg_cicld.translation import TranslationSettings, Translator

LABELS = torch.tensor([[[0, 0, 1], [2, 255, 1]]])


def noised(images, seeds, signal, noise):
    drawn = [torch.randn(images.shape[1:], generator=KeyedStreams(seed).torch('translation_noise')) for seed in seeds]
    return signal * images + noise * torch.stack(drawn).to(images)


def mean_loss_gradient(guide, estimate, labels):
    """The gradient of the mean cross entropy of a one by one linear segmentor, by hand: W^T (softmax - one hot)."""
    convolution = guide.segmentor.backbone.convolution
    head = guide.segmentor.decode_head.conv_seg
    weight = head.weight.flatten(1) @ convolution.weight.flatten(1)
    errors = guide.logits(estimate).softmax(1)
    labelled = labels != 255
    errors = errors - torch.nn.functional.one_hot(labels.where(labelled, 0), 4).permute(0, 3, 1, 2)
    return torch.einsum('kc,bkhw->bchw', weight, errors * labelled[:, None]) / labelled.sum()


def wrong_class_slope(guide):
    """How the loss of a pixel, of two classes, changes with its colour where it is surely taken for the first one."""
    weights = guide.segmentor.decode_head.conv_seg.weight.flatten(1)
    return (weights[0] - weights[1]) @ guide.segmentor.backbone.convolution.weight.flatten(1)


@pytest.mark.parametrize('kind', ['DDIMScheduler', 'DDPMScheduler'])
def test_each_step_moves_by_the_amount_of_its_formula(kind):
    """Two steps of guided translation, written out with the formulas of the papers alone."""
    torch.manual_seed(0)
    covariance_DD, scale, seeds = covariance().double(), 0.7, [4]
    diffusion, guide = gaussian_diffusion(covariance_DD, mean=0.1), linear_guide().double()
    diffusion.unet.mean_D = diffusion.unet.mean_D.double()
    images = torch.rand(1, 3, *SIZE, dtype=torch.float64) - 0.5
    translator = Translator(diffusion, guide, TranslationSettings(level=0.6, steps=3, scheduler=dict(type=kind)),
                            dict(order='global', global_scale=scale, normalise=None))
    found = translator(images, LABELS, seeds)

    shares = diffusion.scheduler().alphas_cumprod.double()[[59, 39, 19]].tolist() + [1.]
    generator = torch.Generator().manual_seed(KeyedStreams(seeds[0]).integer('translation_steps'))
    sample = noised(images, seeds, shares[0]**0.5, (1 - shares[0])**0.5)
    for share, following in zip(shares, shares[1:]):
        signal, noise = share**0.5, (1 - share)**0.5
        gain = signal * covariance_DD @ torch.linalg.inv(share * covariance_DD + noise**2 * torch.eye(NUMBERS).double())
        estimate = 0.1 + ((sample.flatten(1) - signal * 0.1) @ gain.T).view_as(sample)
        gradient = (mean_loss_gradient(guide, estimate, LABELS).flatten(1) @ gain).view_as(sample)
        predicted = (sample - signal * estimate) / noise
        if kind == 'DDIMScheduler':
            predicted = predicted + noise * scale * gradient
            sample = following**0.5 * (sample - noise * predicted) / signal + (1 - following)**0.5 * predicted
        else:
            beta = 1 - share / following
            variance = (1 - following) / (1 - share) * beta
            mean = (sample - beta / noise * predicted) / (1 - beta)**0.5
            drawn = torch.randn(sample.shape, generator=generator, dtype=torch.float64)
            sample = mean - scale * variance * gradient + variance**0.5 * drawn
    torch.testing.assert_close(found, sample, atol=1e-6, rtol=0)
    unguided = Translator(diffusion, None, TranslationSettings(0.6, 3, dict(type=kind)), None)(images, None, seeds)
    assert (found - unguided).abs().max() > 5e-5  # far above that tolerance


TILTED = [('epsilon', 'DDIMScheduler', 100), ('v_prediction', 'DDIMScheduler', 100), ('sample', 'DDIMScheduler', 100),
          ('epsilon', 'DDPMScheduler', 200), ('epsilon', 'EulerDiscreteScheduler', 100),
          ('epsilon', 'DPMSolverMultistepScheduler', 40), ('flow', 'FlowMatchEulerDiscreteScheduler', 100)]


@pytest.mark.parametrize('prediction_type, kind, steps', TILTED)
def test_samples_follow_the_tilted_distribution(prediction_type, kind, steps):
    """With a loss w x, p(x) exp(-s w x) of normal data is normal, too: the mean moves by -s C w, the covariance stays.

    Two classes, of which the labelled one is hopeless, make the cross entropy linear.
    """
    covariance_DD, images = covariance(), 200
    timesteps, tolerance = (steps, 0.2) if kind == 'DDPMScheduler' else (100, 0.04)  # DDPM's mean is of first order
    diffusion = gaussian_diffusion(covariance_DD, prediction_type=prediction_type, timesteps=timesteps)
    guide = linear_guide(classes=2, bias=(40., 0.))
    settings = TranslationSettings(1., steps, dict(type=kind))
    labels = torch.ones(images, *SIZE, dtype=torch.long)
    zeros, seeds = torch.zeros(images, 3, *SIZE), list(range(images))
    translator = Translator(diffusion, guide, settings, dict(order='global', global_scale=2.))
    found = translator(zeros, labels, seeds)
    unguided = Translator(diffusion, None, settings, None)(zeros, None, seeds)

    slope_D = wrong_class_slope(guide)[:, None].expand(3, SIZE[0] * SIZE[1]).flatten()
    expected_D = -2 * covariance_DD @ slope_D
    # The same draws went into both, so that the shift shows without the spread of the samples.
    shift_D = (found - unguided).flatten(1).mean(0)
    torch.testing.assert_close(shift_D, expected_D, atol=tolerance * float(expected_D.abs().max()), rtol=0)
    spread_DD = torch.cov(found.flatten(1).T)
    torch.testing.assert_close(spread_DD, covariance_DD, atol=0.3 * float(covariance_DD.max()), rtol=0)


@pytest.mark.parametrize('kind', ['DDIMScheduler', 'EulerDiscreteScheduler'])
def test_guidance_is_not_lost_where_the_estimate_is_saturated(kind):
    """Estimates beyond 1 are brought to 1 before guidance moves them; a scheduler's own clipping would come after."""
    diffusion = gaussian_diffusion(0.01 * torch.eye(NUMBERS), mean=1.2)
    guide = linear_guide(classes=2, bias=(40., 0.))
    settings = TranslationSettings(0.5, 5, dict(type=kind))
    labels, white = torch.ones(1, *SIZE, dtype=torch.long), torch.ones(1, 3, *SIZE)
    unguided = Translator(diffusion, None, settings, None)(white, None, [0])
    guided = Translator(diffusion, guide, settings, dict(global_scale=8., local_scale=8.))(white, labels, [0])
    assert unguided.min() > 0.98
    downward = wrong_class_slope(guide) > 0
    assert downward.any()
    assert (guided - unguided)[0, downward].max() < -0.002


@pytest.mark.parametrize('prediction_type', ['epsilon', 'flow'])
def test_stopping_at_the_estimate_is_exact_for_white_data_of_variance_one(prediction_type):
    diffusion = gaussian_diffusion(torch.eye(NUMBERS), mean=0., prediction_type=prediction_type)
    guide = linear_guide(window=3)
    images = torch.rand(2, 3, *SIZE) - 0.5
    labels = LABELS.expand(2, -1, -1)
    settings, scales = TranslationSettings(0.3, 4), dict(local_scale=0.05, global_scale=0.05)
    sample, estimate = (Translator(diffusion, guide, settings, dict(scales, through=through))(images, labels, [1, 2])
                        for through in ('sample', 'estimate'))
    torch.testing.assert_close(sample, estimate, atol=1e-6, rtol=0)
    unguided = Translator(diffusion, None, settings, None)(images, None, [1, 2])
    assert (sample - unguided).abs().max() > 1e-3
