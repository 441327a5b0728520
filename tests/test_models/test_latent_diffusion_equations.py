"""What a latent diffusion head computes, against direct formulas."""
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from tiny_latent_head import MODES, SIZE, build, features, keyed_losses, labels

from mmseg_cicld.models.diffusion.denoiser import mask_attention
from mmseg_cicld.models.diffusion.diffusers_schedulers import build_scheduler
from mmseg_cicld.models.diffusion.noising import Noising


def test_forward_process_is_that_of_diffusers():
    scheduler = DDPMScheduler(beta_schedule='squaredcos_cap_v2')
    clean, noise, steps = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4), torch.tensor([0, 400, 999])
    torch.testing.assert_close(Noising(scheduler).noisy(clean, noise, steps), scheduler.add_noise(clean, noise, steps))


@pytest.mark.parametrize('kind, target', [
    ('epsilon', lambda a, s, z, e: e), ('sample', lambda a, s, z, e: z),
    ('v_prediction', lambda a, s, z, e: a * e - s * z)])
def test_predictions_stand_for_latent_and_noise(kind, target):
    noising = Noising(build_scheduler(dict(type='DDPMScheduler', prediction_type=kind))).double()
    clean, noise = (torch.randn(3, 2, 4, 4, dtype=torch.float64) for _ in range(2))
    steps = torch.tensor([3, 400, 999])
    share = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)[steps].double()[:, None, None, None]
    noisy = share.sqrt() * clean + (1 - share).sqrt() * noise
    prediction = target(share.sqrt(), (1 - share).sqrt(), clean, noise)
    torch.testing.assert_close(noising.target(clean, noise, steps), prediction, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(noising.noisy(clean, noise, steps), noisy, atol=1e-5, rtol=1e-5)
    exact = noising.target(clean, noise, steps)
    exact_noisy = noising.noisy(clean, noise, steps)
    torch.testing.assert_close(noising.clean(exact, exact_noisy, steps), clean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(noising.noise(exact, exact_noisy, steps), noise, atol=1e-4, rtol=1e-4)


def test_flow_matching_interpolates_between_latent_and_noise():
    noising = Noising(build_scheduler(dict(type='FlowMatchEulerDiscreteScheduler')))
    clean, noise, steps = torch.randn(2, 2, 4, 4), torch.randn(2, 2, 4, 4), torch.tensor([249, 999])
    noisy = torch.stack([0.75 * clean[0] + 0.25 * noise[0], noise[1]])
    torch.testing.assert_close(noising.noisy(clean, noise, steps), noisy)
    assert noising.times(steps).tolist() == [250, 1000]
    velocity = noise - clean
    torch.testing.assert_close(noising.target(clean, noise, steps), velocity)
    torch.testing.assert_close(noising.clean(velocity, noisy, steps), clean)
    torch.testing.assert_close(noising.noise(velocity, noisy, steps), noise)


@pytest.mark.parametrize('kind', ['DDPMScheduler', 'FlowMatchEulerDiscreteScheduler'])
def test_levels_of_other_times_go_through_those_of_training_and_geometrically_between(kind):
    noising = Noising(build_scheduler(dict(type=kind)))
    times_T = noising.times_T.double()
    same, between = noising.at_times(times_T), noising.at_times((times_T[:-1] + times_T[1:]) / 2)
    ratio_T, signal_T = noising.noise_T.double() / noising.signal_T.double(), noising.signal_T
    torch.testing.assert_close((same.signal_T, same.noise_T), (signal_T, noising.noise_T), atol=1e-6, rtol=1e-5)
    if kind == 'DDPMScheduler':
        middle = (ratio_T[:-1] * ratio_T[1:]).sqrt()
        torch.testing.assert_close(between.noise_T.double() / between.signal_T, middle, atol=0, rtol=1e-5)
    else:
        torch.testing.assert_close(between.signal_T, (signal_T[:-1] + signal_T[1:]) / 2, atol=1e-6, rtol=1e-5)


def test_condition_is_added_by_sigmoid_attention():
    features_BNC, tokens_BMC = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    expected = features_BNC.clone()
    for b in range(2):
        for n in range(3):
            for m in range(5):
                weight = 1 / (1 + torch.exp(-(features_BNC[b, n] * tokens_BMC[b, m]).sum()))
                expected[b, n] += weight * tokens_BMC[b, m]
    torch.testing.assert_close(mask_attention(features_BNC, tokens_BMC), expected)
    assert torch.equal(mask_attention(features_BNC, torch.zeros(2, 5, 4)), features_BNC)


def test_condition_enters_after_the_middle_block_only():
    head = build(**MODES['mask'])
    noisy, times, tokens = torch.randn(2, 4, 4, 4), torch.tensor([5, 700]), torch.randn(2, 4, 16)
    seen = {}
    unet = head.denoiser.unet
    inner = unet.mid_block.mid_block.register_forward_hook(lambda m, args, out: seen.update(before=out))
    outer = unet.mid_block.register_forward_hook(lambda m, args, out: seen.update(after=out))
    head.denoiser(noisy, times, noisy, tokens)
    flat = seen['before'].flatten(2).transpose(1, 2)
    torch.testing.assert_close(seen['after'].flatten(2).transpose(1, 2), mask_attention(flat, tokens))
    inner.remove(), outer.remove()
    assert torch.equal(head.denoiser(noisy, times, noisy, torch.zeros_like(tokens)), head.denoiser(noisy, times, noisy))


@pytest.mark.parametrize('kind', ['epsilon', 'sample', 'v_prediction'])
def test_noise_loss_is_that_of_the_paper(kind):
    head = build(scheduler=dict(type='DDPMScheduler', prediction_type=kind))
    losses, (_, _, latent) = keyed_losses(head, features()), features()
    total = 0.0
    for index, seed in enumerate((11, 12)):
        generator = torch.Generator().manual_seed(seed)
        step = torch.randint(1000, (), generator=generator)
        noise = torch.randn(4, 4, 4, generator=generator)
        share = DDPMScheduler().alphas_cumprod[step]
        noisy = share.sqrt() * latent[index] + (1 - share).sqrt() * noise
        prediction = head.denoiser.unet(noisy[None], step[None]).sample[0]
        target = dict(epsilon=noise, sample=latent[index],
                      v_prediction=share.sqrt() * noise - (1 - share).sqrt() * latent[index])[kind]
        total += ((prediction - target)**2).mean() / 2
    torch.testing.assert_close(losses['loss_noise'], total)


def test_decoder_learns_on_the_estimate_of_the_clean_latent():
    head, (skip_0, skip_1, latent) = build(), features()
    estimate = head.estimate(latent, (11, 12))
    share = DDPMScheduler().alphas_cumprod[estimate.timesteps_B][:, None, None, None]
    noisy = share.sqrt() * latent + (1 - share).sqrt() * estimate.true_noise_BChw
    torch.testing.assert_close(estimate.noise_BChw, head.denoiser.unet(noisy, estimate.timesteps_B).sample)
    clean = (noisy - (1 - share).sqrt() * estimate.noise_BChw) / share.sqrt()
    torch.testing.assert_close(estimate.clean_BChw, clean, rtol=1e-4, atol=1e-3)
    logits = F.interpolate(head.decode(clean, [skip_0, skip_1]), size=(SIZE, SIZE), mode='bilinear')
    losses = keyed_losses(head, [skip_0, skip_1, latent])
    count = labels().numel()  # mmseg averages over ignored pixels too
    expected = F.cross_entropy(logits, labels(), ignore_index=255, reduction='sum') / count
    torch.testing.assert_close(losses['loss_ce'], expected, rtol=1e-3, atol=1e-4)


def test_one_inference_step_is_the_estimate_at_the_start():
    head, (_, _, latent) = build(inference=dict(start=299)), features()
    noise = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(0)).expand(2, -1, -1, -1)
    steps = torch.tensor([299, 299])
    noisy = head.noising.noisy(latent, noise, steps)
    clean = head.noising.clean(head.denoiser(noisy, steps, latent), noisy, steps)
    *_, denoised = head.trajectory(latent)
    torch.testing.assert_close(denoised, clean, rtol=1e-3, atol=1e-3)


def test_label_latent_has_unit_codes_and_forgets_ignored_pixels():
    head = build(**MODES['label'])
    mask = torch.full((1, SIZE, SIZE), 255)
    mask[:, :, :16], mask[:, :8, 16:24] = 2, 3
    latent = head.label_latent(mask, (4, 4))
    code = head.label_latent.codes[2] / head.label_latent.codes[2].norm() * 2
    torch.testing.assert_close(latent[0, :, 0, 0], code)
    torch.testing.assert_close(latent[0, :, 0, 1].square().mean(), torch.tensor(1.0))
    assert latent[0, :, 1, 2].abs().sum() == 0 and latent[0, :, 0, 2].abs().sum() > 0
