"""A latent diffusion head with any scheduler of diffusers."""
import numpy as np
import pytest
import torch
from tiny_latent_head import build, features, samples

from mmseg_cicld.models.diffusion.diffusers_schedulers import available_schedulers, build_scheduler
from mmseg_cicld.models.diffusion.noising import Noising
from mmseg_cicld.models.diffusion.sampling import ReverseProcess

BETAS = dict(beta_schedule='scaled_linear', beta_start=0.0015, beta_end=0.0205)  # of the configs: 4 % of noise at timestep 0


@pytest.mark.parametrize('name', available_schedulers())
@pytest.mark.parametrize('start, steps', [(249, 1), (999, 1), (299, 3), (999, 5)])
def test_every_scheduler_finds_the_latent_with_the_true_noise(name, start, steps):
    scheduler = build_scheduler({'type': name, **({} if 'FlowMatch' in name else BETAS)})
    noising = Noising(scheduler)
    clean, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    times_seen = []

    def oracle(noisy, times):
        times_seen.append(float(times[0]))
        if noising.prediction_type == 'flow':
            return (noisy - clean) / (times[0] / 1000)
        share = torch.from_numpy(np.interp(float(times[0]), range(1000), noising.signal_T.numpy())[None])
        return ((noisy - share * clean) / (1 - share**2).sqrt()).float()

    process = ReverseProcess(scheduler, steps, start)
    *between, found = process.latents(oracle, clean, noise, seed=0)
    assert len(between) == len(process.times) - 1 and times_seen == [float(time) for time in process.times]
    assert times_seen[0] in (start, start + 1)  # the noisiest, in flow matching's count
    assert steps < 5 or times_seen[-1] < (start + 1) / 3
    torch.testing.assert_close(found, clean, atol=2e-3, rtol=0)


def test_one_step_is_what_the_scheduler_itself_makes_of_it():
    """The closed form takes no scheduler object; those that end with the clean latent agree with it."""
    clean, noise, prediction = (torch.randn(2, 3, 4, 4) for _ in range(3))
    for name in ('DDIMScheduler', 'EulerDiscreteScheduler', 'DPMSolverMultistepScheduler', 'FlowMatchEulerDiscreteScheduler'):
        scheduler = build_scheduler(dict(type=name))
        found, = ReverseProcess(scheduler, 1, 999).latents(lambda noisy, times: prediction, clean, noise, seed=0)
        if 'FlowMatch' in name:
            scheduler.set_timesteps(sigmas=[1.0])
            noisy = scheduler.scale_noise(clean, scheduler.timesteps, noise)
        else:
            scheduler.set_timesteps(1)
            noisy = scheduler.add_noise(clean, noise, scheduler.timesteps[:1])
        expected = scheduler.step(prediction, scheduler.timesteps[0], noisy).prev_sample
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3, msg=name)


def test_timesteps_are_trailing_unless_told_otherwise():
    assert build_scheduler(dict(type='DDIMScheduler')).config.timestep_spacing == 'trailing'
    assert build_scheduler(dict(type='DDIMScheduler', timestep_spacing='leading')).config.timestep_spacing == 'leading'


def test_unknown_scheduler_is_told_what_exists():
    with pytest.raises(ValueError, match="type is 'DDIM'; diffusers .* has these.*DDIMScheduler.*LCMScheduler"):
        build(scheduler=dict(type='DDIM'))
    with pytest.raises(ValueError, match='DDIMScheduler takes no betas; it takes .*beta_end'):
        build(scheduler=dict(type='DDIMScheduler', betas=1))


@pytest.mark.parametrize('scheduler', ['DDPMScheduler', 'LCMScheduler', 'EulerAncestralDiscreteScheduler',
                                       'FlowMatchEulerDiscreteScheduler', 'DPMSolverMultistepScheduler'])
def test_predicts_and_trains_with_any_scheduler(scheduler):
    head = build(scheduler=dict(type=scheduler), inference=dict(steps=2))
    assert head(features()).isfinite().all()
    assert sum(value for key, value in head.loss(features(), samples(), None).items() if 'loss' in key).isfinite()
