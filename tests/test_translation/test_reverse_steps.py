"""The levels of noise that guidance reckons with are those that the scheduler has."""
import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler

from mmseg_cicld.models.diffusion.sampling import ReverseProcess
from mmseg_cicld.translation import TranslationSettings
from mmseg_cicld.translation.reverse_steps import ReverseSteps


@pytest.mark.parametrize('prediction_type', ['epsilon', 'sample', 'v_prediction'])
@pytest.mark.parametrize('config', [
    dict(type='DDIMScheduler'), dict(type='DDPMScheduler'), dict(type='EulerDiscreteScheduler'),
    dict(type='EulerDiscreteScheduler', use_karras_sigmas=True),
    dict(type='EulerDiscreteScheduler', timestep_spacing='linspace')])
def test_estimates_are_those_of_the_scheduler(config, prediction_type):
    """With Karras' sigmas, timesteps lie between those of the training."""
    trained = DDPMScheduler(prediction_type=prediction_type)
    reverse = ReverseSteps(trained, TranslationSettings(0.4, 5, config))
    scheduler = reverse.process._scheduler
    scheduler.set_timesteps(5)
    for step, time in enumerate(reverse.process.times):
        sample, prediction = torch.randn(2, 1, 3, 2, 2) * getattr(scheduler, 'init_noise_sigma', 1.)
        seen = scheduler.scale_model_input(sample, time)
        expected = scheduler.step(prediction, time, sample).pred_original_sample
        found = reverse.noising.clean(prediction, seen, torch.tensor([step]))
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_flow_matching_keeps_the_sigmas_of_its_shift():
    settings = TranslationSettings(0.5, 4, dict(type='FlowMatchEulerDiscreteScheduler', shift=3.))
    reverse = ReverseSteps(FlowMatchEulerDiscreteScheduler(), settings)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.)
    scheduler.set_timesteps(sigmas=[0.5, 0.375, 0.25, 0.125])
    torch.testing.assert_close(reverse.noising.noise_T, scheduler.sigmas[:-1])
    torch.testing.assert_close(reverse.noising.signal_T, 1 - scheduler.sigmas[:-1])


def test_every_sample_may_have_its_own_draws():
    process = ReverseProcess(DDPMScheduler(timestep_spacing='trailing'), 3, start=299)
    zeros = torch.zeros(2, 1, 2, 2)

    def last(seed):
        *_, latent = process.latents(lambda seen, times: torch.zeros_like(seen), zeros, zeros, seed)
        return latent

    alike, apart = last(5), last([5, 6])
    assert torch.equal(alike[0], alike[1]) and torch.equal(alike[0], apart[0])
    assert not torch.equal(apart[0], apart[1])


def test_ddpm_is_guided_by_the_variance_of_its_steps():
    trained, settings = DDPMScheduler(), TranslationSettings(0.05, 50, dict(type='DDPMScheduler'))
    reverse = ReverseSteps(trained, settings)
    scheduler = reverse.process._scheduler
    scheduler.set_timesteps(50)
    for step, time in enumerate(scheduler.timesteps[:-1]):
        estimates = torch.tensor([0., -1e-3 * float(reverse.strength_N[step])])  # how guidance moves it
        prediction = (0 - reverse.noising.signal_T[step] * estimates) / reverse.noising.noise_T[step]
        moved = [scheduler.step(one, time, torch.zeros(1, 1), generator=torch.Generator().manual_seed(0)).prev_sample
                 for one in prediction.double()[:, None, None]]
        torch.testing.assert_close((moved[1] - moved[0]).item(), -1e-3 * float(scheduler._get_variance(time)),
                                   rtol=1e-3, atol=0)
    settings = TranslationSettings(0.05, 50, dict(type='DDPMScheduler', variance_type='fixed_large'))
    large = ReverseSteps(trained, settings)
    assert (large.strength_N > reverse.strength_N).all()
