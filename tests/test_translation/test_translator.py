"""Whole translations with tiny real networks: what changes a result, what must not, and what is refused."""
from unittest.mock import patch

import pytest
import torch
from closed_form import covariance, gaussian_diffusion, linear_guide
from tiny_diffusion import tiny_diffusion
from tiny_segmentors import block_labels, tiny_segmentor

from mmseg_cicld.models.diffusion.diffusers_schedulers import available_schedulers
from mmseg_cicld.translation import SegmentationGuide, TranslationSettings, Translator, build_settings

LABELS = block_labels()
SEEDS = [11, 12]
LATENT = pytest.mark.parametrize('latent', [False, True], ids=['pixels', 'latents'])


def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(7)) * 1.6 - 0.8


def tiny_translator(guidance=None, latent=False, scheduler=None, level=0.3, steps=4, dtype=None, **training):
    guide = None if guidance is None else SegmentationGuide(tiny_segmentor())
    settings = TranslationSettings(level, steps, scheduler)
    return Translator(tiny_diffusion(latent, **training), guide, settings, guidance, dtype)


@LATENT
@pytest.mark.parametrize('kind', ['DDIMScheduler', 'DDPMScheduler', 'DPMSolverMultistepScheduler'])
def test_guidance_lowers_the_loss_of_the_segmentor(latent, kind):
    losses = []
    for scale in (0., 0.01):
        translator = tiny_translator(dict(local_scale=scale, global_scale=scale), latent, dict(type=kind), steps=8)
        found = translator(images(), LABELS, SEEDS)
        assert found.shape == (2, 3, 32, 32) and found.dtype == torch.float32 and not found.requires_grad
        assert found.abs().max() <= 1
        losses.append(translator.guide(found, LABELS).mean((1, 2)))
    assert (losses[1] < losses[0]).all()


@pytest.mark.parametrize('through', ['sample', 'estimate'])
def test_the_guide_sees_an_estimate_in_the_range_of_images(through):
    translator, seen = tiny_translator(dict(through=through), prediction_type='sample'), []
    translator.diffusion.unet.conv_out.bias.data += 1.5  # estimates of the clean image beyond what images hold
    translator.guide.register_forward_pre_hook(lambda guide, inputs: seen.append(inputs[0].detach()))
    translator(images(), LABELS, SEEDS)
    assert seen and all(estimate.abs().max() <= 1 + 1e-6 for estimate in seen)
    assert max(estimate.max() for estimate in seen) == pytest.approx(1)


@LATENT
@pytest.mark.parametrize('training', [{}, dict(prediction_type='v_prediction'), dict(prediction_type='sample')])
def test_scale_zero_and_nothing_to_learn_from_are_unguided_bitwise(latent, training):
    unguided = tiny_translator(None, latent, **training)(images(), None, SEEDS)
    zero = dict(local_scale=0., global_scale=0.)
    assert torch.equal(tiny_translator(zero, latent, **training)(images(), LABELS, SEEDS), unguided)
    ignored = torch.full_like(LABELS, 255)
    assert torch.equal(tiny_translator({}, latent, **training)(images(), ignored, SEEDS), unguided)
    assert not torch.equal(tiny_translator({}, latent, **training)(images(), LABELS, SEEDS), unguided)


@pytest.mark.parametrize('kind', ['DDPMScheduler', 'EulerAncestralDiscreteScheduler', 'DDIMScheduler'])
def test_an_image_depends_neither_on_its_batch_nor_on_earlier_draws(kind):
    translator = tiny_translator(dict(order='both', normalise='rms'), scheduler=dict(type=kind))
    together = translator(images(), LABELS, SEEDS)
    torch.manual_seed(123)
    for index in (1, 0):
        one = slice(index, index + 1)
        alone = translator(images()[one], LABELS[one], SEEDS[one])
        torch.testing.assert_close(alone, together[one], atol=1e-4, rtol=0)
    assert torch.equal(translator(images(), LABELS, SEEDS), together)
    same_seed = translator(images()[:1].expand(2, -1, -1, -1), LABELS[:1].expand(2, -1, -1), [11, 11])
    torch.testing.assert_close(*same_seed, atol=1e-4, rtol=0)
    other_seed = translator(images(), LABELS, [11, 13])
    assert (other_seed[1] - together[1]).abs().max() > 0.01


@pytest.mark.parametrize('name', available_schedulers())
def test_guides_with_every_scheduler(name):
    """Each pixel of a guide is drawn to its class in the same direction, whatever the scheduler."""
    flow = name.startswith('FlowMatch')
    diffusion = gaussian_diffusion(covariance(), prediction_type='flow' if flow else 'epsilon', timesteps=1000)
    start = torch.zeros(2, 3, 2, 3)
    labels = torch.tensor([[[0, 0, 1], [2, 255, 1]], [[1, 1, 2], [0, 3, 3]]])
    guide, settings = linear_guide(), TranslationSettings(0.5, 6, dict(type=name))
    losses = [guide(Translator(diffusion, guide, settings, dict(order='both', local_scale=scale, global_scale=scale))(
        start, labels, SEEDS), labels).mean() for scale in (0., 2.)]
    assert losses[1] < losses[0]


def test_level_and_steps_decide_how_far_an_image_changes():
    changes = [(tiny_translator(level=level, steps=2)(images(), None, SEEDS) - images()).abs().mean()
               for level in (0.01, 0.2, 0.6)]
    assert changes[0] < changes[1] < changes[2]
    assert changes[0] < 0.2


@LATENT
def test_bfloat16_networks_keep_the_sample_in_float32(latent):
    guidance = dict(local_scale=0.003, global_scale=0.003)
    full, half = (tiny_translator(guidance, latent, dtype=dtype)(images(), LABELS, SEEDS)
                  for dtype in (None, 'bfloat16'))
    assert half.dtype == torch.float32
    assert 0 < (full - half).abs().mean() < 0.03


@pytest.mark.parametrize('multiplies', [True, False])
def test_automatic_format_follows_the_processor(multiplies):
    with patch('mmseg_cicld.models.precision.multiplies_bfloat16', lambda: multiplies):
        auto, named = (tiny_translator(dtype=dtype)(images(), None, SEEDS)
                       for dtype in ('auto', 'bfloat16' if multiplies else None))
    assert torch.equal(auto, named)


def test_networks_are_frozen_and_in_evaluation_mode():
    diffusion, segmentor = tiny_diffusion().train(), tiny_segmentor().train()
    translator = Translator(diffusion, SegmentationGuide(segmentor), TranslationSettings(0.3, 2), {})
    translator(images(), LABELS, SEEDS)
    assert not any(module.training for module in (*diffusion.modules(), *segmentor.modules()))
    assert all(parameter.grad is None for parameter in translator.parameters())


def test_schedule_of_the_training_is_kept():
    """A schedule that DDIM does not know by name, and one without signal at its end."""
    translator = tiny_translator(beta_schedule='sigmoid', num_train_timesteps=200, level=0.5, steps=5)
    shares = tiny_diffusion(beta_schedule='sigmoid', num_train_timesteps=200).scheduler().alphas_cumprod
    torch.testing.assert_close(translator.noising.signal_T**2, shares[[99, 79, 59, 39, 19]])
    empty = dict(rescale_betas_zero_snr=True, prediction_type='v_prediction')
    found = tiny_translator({}, level=1., steps=3, **empty)(images(), LABELS, SEEDS)
    assert found.isfinite().all()


SCHEDULER = 'translation.scheduler'


@pytest.mark.parametrize('changes, message', [
    (dict(level=0), 'translation.level is 0, allowed'), (dict(level=1.5), 'translation.level is 1.5'),
    (dict(steps=0), 'translation.steps is 0'), (dict(level=0.01, steps=20), 'steps is 20, but level 0.01 .*leaves 10'),
    (dict(scheduler=dict(type='DDIM')), f"{SCHEDULER}.type is 'DDIM'"),
    (dict(scheduler=dict(type='DDIMScheduler', eta=1)), f'{SCHEDULER}: DDIMScheduler takes no eta'),
    (dict(scheduler=dict(beta_start=0.1)), f'{SCHEDULER} sets beta_start, which follow'),
    (dict(scheduler=dict(clip_sample=True)), f'{SCHEDULER} sets clip_sample, which would undo guidance'),
    (dict(scheduler=dict(type='FlowMatchEulerDiscreteScheduler')), 'was trained with DDPMScheduler: flow matching'),
    (dict(scheduler=dict(type='DDPMScheduler', variance_type='learned')), "variance_type is 'learned', allowed"),
    (dict(scheduler=dict(type='DDPMScheduler', variance_type='fixed_large')), 'leaves noise in the image'),
    (dict(rescale_betas_zero_snr=True), 'the last timestep of scheduler of the diffusion model holds no signal'),
    (dict(dtype='float16'), r"dtype is 'float16', allowed are None \(float32\), 'bfloat16' and 'auto'"),
    (dict(guidance=dict(strength=1)), 'guidance has no strength')])
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_translator(**changes)


def test_guidance_without_segmentor_and_unknown_settings_are_refused():
    with pytest.raises(ValueError, match='guidance needs a segmentor: set segmentor='):
        Translator(tiny_diffusion(), None, TranslationSettings(), {})
    with pytest.raises(ValueError, match='translation has no n; it has level, scheduler, steps'):
        build_settings(TranslationSettings, dict(n=500), 'translation')


@pytest.mark.parametrize('given, error, message', [
    (dict(images_B3HW=torch.zeros(2, 4, 32, 32)), ValueError, r'images have the shape \(2, 4, 32, 32\)'),
    (dict(images_B3HW=torch.zeros(2, 3, 32, 32).byte()), TypeError, 'images are torch.uint8'),
    (dict(images_B3HW=torch.zeros(2, 3, 31, 32)), ValueError, '31 x 32 pixels'),
    (dict(labels_BHW=None), ValueError, 'guidance needs the label of each image'),
    (dict(labels_BHW=LABELS[:, :8]), ValueError, r'labels have the shape \(2, 8, 32\), but images'),
    (dict(labels_BHW=LABELS + 3), ValueError, 'classes 0 to 4'),
    (dict(seeds=[1]), ValueError, '2 images came with 1 seeds')])
def test_inputs_that_do_not_fit_are_refused(given, error, message):
    with pytest.raises(error, match=message):
        tiny_translator({})(**dict(images_B3HW=images(), labels_BHW=LABELS, seeds=SEEDS) | given)
