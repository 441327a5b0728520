"""The latent diffusion head with a tiny real UNet of diffusers."""
import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import mmseg_cicld  # noqa: F401
from mmseg_cicld.engine.acceleration import compile_segmentors
from mmseg_cicld.models.diffusion.denoiser import mask_attention
from mmseg_cicld.models.diffusion.noising import Noising
from mmseg_cicld.models.diffusion.sampling import ReverseProcess
from mmseg_cicld.models.diffusion.diffusers_schedulers import available_schedulers, build_scheduler

CLASSES, SIZE = 5, 32
UNET = dict(type='UNet2DModel', block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, add_attention=False,
            down_block_types=('DownBlock2D', 'DownBlock2D'), up_block_types=('UpBlock2D', 'UpBlock2D'))
MASKED_UNET = dict(type='UNet2DConditionModel', block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
                   down_block_types=('DownBlock2D', 'DownBlock2D'), up_block_types=('UpBlock2D', 'UpBlock2D'),
                   mid_block_type='UNetMidBlock2D')
EMBEDDED = dict(type='ClassEmbeddingMaskEncoder')
COLOURED = dict(type='ColourMaskEncoder', backbone_channels=32, render_size=(32, 32),
                palette=[(50 * i, 0, 9) for i in range(CLASSES)],
                backbone=dict(type='ResNetV1c', depth=18, stem_channels=4, base_channels=4))
HEAD = dict(type='LatentDiffusionHead', in_channels=(6, 5, 4), decoder_channels=(8, 7), num_classes=CLASSES,
            dropout_ratio=0, denoiser=UNET, scheduler=dict(type='DDIMScheduler'),
            loss_decode=dict(type='CrossEntropyLoss'))
MASKED = dict(denoiser=MASKED_UNET, condition='mask_attention')
MODES = dict(
    image={},
    image_concat=dict(condition='concat'),
    bypassed=dict(inference=dict(steps=0)),
    three_steps=dict(inference=dict(steps=3, start=299)),
    ensemble=dict(inference=dict(ensemble=2)),
    zero_noise=dict(inference=dict(noise='zero')),
    label=dict(diffused='label', condition='concat'),
    own_label=dict(diffused='label', condition='concat', training=dict(masks='predictions')),
    mask=dict(MASKED, mask_encoder=EMBEDDED),
    colour_mask=dict(MASKED, mask_encoder=COLOURED),
    mask_of_own=dict(MASKED, mask_encoder=EMBEDDED, training=dict(masks='predictions')),
    two_passes=dict(MASKED, mask_encoder=EMBEDDED, inference=dict(condition='prediction')),
    no_denoiser=dict(denoiser=None))


def build(**changes):
    torch.manual_seed(0)
    head = MODELS.build({**copy.deepcopy(HEAD), **copy.deepcopy(changes)})
    if changes.get('denoiser', UNET) is not None:  # UNets of diffusers start with an output of almost zero
        for parameter in head.denoiser.unet.conv_out.parameters():
            parameter.data.mul_(20)
    return head


def segmentor(**head):
    torch.manual_seed(0)
    built = MODELS.build(ConfigDict(
        type='EncoderDecoder', backbone=dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=8),
        neck=dict(type='InterCoderNeck', in_channels=(8, 16, 32, 64), latent_channels=4, latent_index=1,
                  skip_channels=(6, 5)),
        decode_head={**copy.deepcopy(HEAD), **copy.deepcopy(head)}, train_cfg=dict(), test_cfg=dict(mode='whole')))
    built.train(False)
    return built


def features(batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, channels, size, size, generator=generator)
            for channels, size in zip((6, 5, 4), (SIZE // 4, SIZE // 8, SIZE // 8))]


def samples(batch=2, seeds=(11, 12), value=None):
    generator = torch.Generator().manual_seed(3)
    made = []
    for index in range(batch):
        label = torch.randint(0, CLASSES, (1, SIZE, SIZE), generator=generator)
        label[:, :4] = 255
        label = label if value is None else torch.full_like(label, value)
        made.append(SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=dict(
            img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE), sample_seed=None if seeds is None else seeds[index])))
    return made


def labels(batch=2):
    return torch.cat([sample.gt_sem_seg.data for sample in samples(batch)])


def grad(part):
    return sum(float(p.grad.abs().sum()) for p in part.parameters() if p.grad is not None)


# --- equations ---


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
    losses, (_, _, latent) = head.loss(features(), samples(), None), features()
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
    losses = head.loss([skip_0, skip_1, latent], samples(), None)
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


def test_ensemble_averages_probabilities():
    pair, (skip_0, skip_1, latent) = build(inference=dict(ensemble=2, seed=5)), features()
    singles = [build(inference=dict(seed=seed))([skip_0, skip_1, latent]).softmax(1) for seed in (5, 6)]
    assert not torch.allclose(*singles)
    torch.testing.assert_close(pair([skip_0, skip_1, latent]).exp(), sum(singles) / 2)


# --- schedulers ---


@pytest.mark.parametrize('name', available_schedulers())
@pytest.mark.parametrize('start', [299, 999])
def test_every_scheduler_finds_the_latent_with_the_true_noise(name, start):
    scheduler = build_scheduler(dict(type=name))
    noising = Noising(scheduler)
    clean, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    times_seen = []

    def oracle(noisy, times):
        times_seen.append(float(times[0]))
        if noising.prediction_type == 'flow':
            return (noisy - clean) / (times[0] / 1000)
        share = torch.from_numpy(np.interp(float(times[0]), range(1000), noising.signal_T.numpy())[None])
        return ((noisy - share * clean) / (1 - share**2).sqrt()).float()

    *_, found = ReverseProcess(scheduler, 5, start).latents(oracle, clean, noise, seed=0)
    assert times_seen[0] in (start, start + 1)  # the noisiest, in flow matching's count
    assert times_seen[-1] < (start + 1) / 3
    torch.testing.assert_close(found, clean, atol=0.15, rtol=0)  # some end one training timestep before the latent


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


# --- predictions ---


@pytest.mark.parametrize('mode', MODES)
def test_prediction_never_sees_a_label(mode):
    head, metas = build(**MODES[mode]).eval(), [dict(img_shape=(SIZE, SIZE))] * 2
    logits = [head.predict(features(), [dict(meta, gt_sem_seg=sample.gt_sem_seg) for meta in metas], dict())
              for sample in (samples(value=0)[0], samples(value=4)[0])]
    assert torch.equal(*logits)


@pytest.mark.parametrize('mode', MODES)
def test_prediction_of_a_segmentor_ignores_the_labels_of_its_samples(mode):
    network = segmentor(**MODES[mode])
    images = torch.randn(2, 3, SIZE, SIZE)
    first, second = (network.predict(images, samples(value=value)) for value in (0, 4))
    assert all(torch.equal(a.seg_logits.data, b.seg_logits.data) for a, b in zip(first, second))


@pytest.mark.parametrize('mode', MODES)
def test_prediction_is_the_same_alone_in_a_batch_and_again(mode):
    head, both = build(**MODES[mode]).eval(), features()
    torch.manual_seed(1)
    logits = head(both)
    torch.manual_seed(2)
    assert torch.equal(head(both), logits)
    alone = torch.cat([head([level[index:index + 1] for level in both]) for index in range(2)])
    torch.testing.assert_close(alone, logits, rtol=1e-3, atol=1e-3)  # the last timestep amplifies by 157


def test_stochastic_schedulers_do_not_depend_on_the_batch():
    head, both = build(scheduler=dict(type='DDPMScheduler'), inference=dict(steps=3)).eval(), features()
    alone = torch.cat([head([level[index:index + 1] for level in both]) for index in range(2)])
    torch.testing.assert_close(alone, head(both), rtol=1e-4, atol=1e-4)


def test_bypass_decodes_the_latent_itself():
    head, (skip_0, skip_1, latent) = build(inference=dict(steps=0)), features()
    assert torch.equal(head([skip_0, skip_1, latent]), head.decode(latent, [skip_0, skip_1]))


def test_without_noise_the_denoiser_starts_from_the_scaled_latent():
    head, (_, _, latent) = build(inference=dict(noise='zero', start=299)), features()
    steps = torch.tensor([299, 299])
    noisy = head.noising.noisy(latent, torch.zeros_like(latent), steps)
    clean = head.noising.clean(head.denoiser(noisy, steps, latent), noisy, steps)
    *_, denoised = head.trajectory(latent)
    torch.testing.assert_close(denoised, clean, rtol=1e-3, atol=1e-3)


def test_encoder_runs_once_whatever_the_number_of_steps():
    network = segmentor(inference=dict(steps=7))
    calls = dict(encoder=0, decoder=0, denoiser=0)
    for name, part in (('encoder', network.backbone), ('decoder', network.decode_head.decoder),
                       ('denoiser', network.decode_head.denoiser)):
        part.register_forward_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    network.encode_decode(torch.randn(1, 3, SIZE, SIZE), [dict(img_shape=(SIZE, SIZE))])
    assert calls == dict(encoder=1, decoder=1, denoiser=7)


def test_a_teacher_may_take_fewer_steps():
    head = build(inference=dict(steps=5), training=dict(prediction_steps=2))
    one, five = build(inference=dict(steps=2)), build(inference=dict(steps=5))
    assert torch.equal(head.train()(features()), one(features()))
    assert torch.equal(head.eval()(features()), five.eval()(features()))


def test_a_window_is_predicted_as_it_is_alone():
    network = segmentor()
    network.test_cfg = ConfigDict(mode='slide', crop_size=(SIZE, SIZE), stride=(SIZE, SIZE))
    image = torch.randn(1, 3, 2 * SIZE, SIZE)
    whole = network.inference(image, [dict(img_shape=(2 * SIZE, SIZE), ori_shape=(2 * SIZE, SIZE))])
    for rows in (slice(0, SIZE), slice(SIZE, 2 * SIZE)):
        alone = network.encode_decode(image[:, :, rows], [dict(img_shape=(SIZE, SIZE))])
        torch.testing.assert_close(whole[:, :, rows], alone)


def test_two_passes_condition_on_the_first_prediction():
    head = build(**MODES['two_passes']).eval()
    skip_0, skip_1, latent = features()
    first = head._logits(latent, [skip_0, skip_1], None).argmax(1)
    tokens = head.mask_encoder(first, (2, 2))
    *_, denoised = head.trajectory(latent, tokens)
    assert torch.equal(head([skip_0, skip_1, latent]), head.decode(denoised, [skip_0, skip_1]))


# --- training ---


@pytest.mark.parametrize('mode', MODES)
def test_trains_in_every_mode(mode):
    head, inputs = build(**MODES[mode]).train(), [level.requires_grad_() for level in features()]
    losses = head.loss(inputs, samples(), None)
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    assert losses['loss_ce'].isfinite() and ('loss_noise' in losses) == (mode != 'no_denoiser')
    assert grad(head.decoder) > 0 and inputs[0].grad.abs().sum() > 0
    assert inputs[2].grad is not None and inputs[2].grad.abs().sum() > 0


def gradients(loss, **changes):
    head, inputs = build(**changes).train(), [level.requires_grad_() for level in features()]
    losses = head.loss(inputs, samples(), None)
    losses[loss].backward()
    return dict(denoiser=grad(head.denoiser), decoder=grad(head.decoder) + grad(head.conv_seg),
                latent=0.0 if inputs[2].grad is None else float(inputs[2].grad.abs().sum()),
                skips=0.0 if inputs[0].grad is None else float(inputs[0].grad.abs().sum()))


@pytest.mark.parametrize('condition', ['none', 'concat'])
def test_noise_loss_reaches_the_denoiser_only(condition):
    found = gradients('loss_noise', condition=condition)
    assert found['denoiser'] > 0 and found['decoder'] == found['latent'] == found['skips'] == 0


def test_segmentation_loss_passes_through_the_denoiser_and_leaves_it():
    found = gradients('loss_ce')
    assert found['denoiser'] == 0 and min(found['decoder'], found['latent'], found['skips']) > 0


def test_segmentation_loss_trains_the_denoiser_if_asked_to():
    assert gradients('loss_ce', training=dict(denoiser_learns_task=True))['denoiser'] > 0


def test_decoder_may_learn_on_the_latent_itself():
    head, inputs = build(training=dict(decoder_input='latent')), features()
    logits, losses = head.training_logits(inputs, labels(), (11, 12))
    assert torch.equal(logits, head.decode(inputs[2], inputs[:2])) and 'loss_noise' in losses


def test_training_at_the_start_from_zero_noise_is_what_inference_does():
    head = build(training=dict(timesteps='start', noise='zero', noise_loss_weight=0, denoiser_learns_task=True),
                 inference=dict(noise='zero', start=499)).eval()
    logits, losses = head.training_logits(features(), labels(), (11, 12))
    torch.testing.assert_close(logits, head(features()), rtol=1e-3, atol=1e-3)
    assert losses == {}


def test_no_timestep_beyond_the_start_is_trained():
    head, latent = build(inference=dict(start=9)), torch.randn(64, 4, 4, 4)
    steps = head.estimate(latent, list(range(64))).timesteps_B
    assert steps.max() == 9 and steps.min() == 0


def test_draws_belong_to_the_sample_not_to_the_batch():
    head, (_, _, latent) = build(), features()
    both, second = head.estimate(latent, (11, 12)), head.estimate(latent[1:], (12, ))
    assert torch.equal(both.true_noise_BChw[1:], second.true_noise_BChw)
    assert torch.equal(both.timesteps_B[1:], second.timesteps_B)
    assert not torch.equal(both.true_noise_BChw[0], both.true_noise_BChw[1])


def test_without_seeds_draws_come_from_the_global_stream():
    head = build()
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(head.loss(features(), samples(seeds=None), None)['loss_noise'])
    assert losses[0] == losses[1] != losses[2]


def test_estimate_gives_gradients_to_denoiser_and_latent():
    head, latent = build(), features()[2].requires_grad_()
    head.estimate(latent, (1, 2)).clean_BChw.square().sum().backward()
    assert grad(head.denoiser) > 0 and latent.grad.abs().sum() > 0 and grad(head.decoder) == 0


@pytest.mark.parametrize('mode', ['mask', 'label'])
def test_estimate_without_labels_is_allowed_and_differs(mode):
    head, latent = build(**MODES[mode], training=dict(condition_dropout=0)), features()[2]
    without, with_labels = head.estimate(latent, (1, 3)), head.estimate(latent, (1, 3), labels())
    assert not torch.equal(without.clean_BChw, with_labels.clean_BChw)
    assert torch.equal(without.true_noise_BChw, with_labels.true_noise_BChw)


@pytest.mark.parametrize('share, equal', [(1.0, True), (0.0, False)])
def test_condition_dropout_hides_the_mask(share, equal):
    head = build(**MODES['mask'], training=dict(condition_dropout=share))
    latent = features()[2]
    masked, null = head.estimate(latent, (1, 2), labels()), head.estimate(latent, (1, 2))
    assert torch.equal(masked.clean_BChw, null.clean_BChw) == equal


@pytest.mark.parametrize('mode', ['mask_of_own', 'own_label'])
def test_own_predictions_take_the_place_of_labels(mode):
    head, inputs = build(**MODES[mode]), features()
    first, second = (head.training_logits(inputs, torch.full((2, SIZE, SIZE), value), (1, 2))[0] for value in (0, 4))
    assert torch.equal(first, second)


def test_pixel_weights_arrive_through_the_sampler_slot():

    class Tap:
        weights = torch.zeros(2, SIZE, SIZE)

        def sample(self, logits, labels):
            return self.weights

    head = build()
    full = head.loss(features(), samples(), None)
    head.sampler = Tap()
    assert head.loss(features(), samples(), None)['loss_ce'] == 0 < full['loss_ce']


def test_bf16_autocast_keeps_the_latent_in_full_precision():
    head = build(inference=dict(steps=3))
    with torch.autocast('cpu', torch.bfloat16):
        losses, logits = head.loss(features(), samples(), None), head(features())
        *_, denoised = head.trajectory(features()[2])
    assert denoised.dtype == torch.float32 and logits.isfinite().all()
    sum(losses[key] for key in ('loss_ce', 'loss_noise')).backward()
    assert 0 < grad(head.denoiser) < float('inf')
    torch.testing.assert_close(losses['loss_noise'], build().loss(features(), samples(), None)['loss_noise'],
                               rtol=0.05, atol=0.05)


def test_copies_and_checkpoints_hold_weights_only():
    head = build(**MODES['mask'])
    assert not [name for name in head.state_dict() if 'noising' in name]
    assert torch.equal(copy.deepcopy(head)(features()), head(features()))


def test_compiled_parts_give_the_same_losses_and_gradients():
    network = segmentor(**MODES['mask'])
    plain, images = copy.deepcopy(network), torch.randn(2, 3, SIZE, SIZE)
    assert compile_segmentors(network, backend='eager') == 4  # backbone, neck, decoder, UNet
    for net in (plain, network):
        sum(value for key, value in net.loss(images, samples()).items() if 'loss' in key).backward()
    for (name, expected), found in zip(plain.named_parameters(), network.parameters()):
        torch.testing.assert_close(found.grad, expected.grad, msg=name)
    assert list(plain.state_dict()) == list(network.state_dict())


# --- two scales ---


@pytest.mark.parametrize('mode', ['image', 'label', 'mask'])
def test_trains_and_predicts_at_two_scales(mode):
    torch.manual_seed(0)
    head = {**copy.deepcopy(HEAD), **copy.deepcopy(MODES[mode])}
    network = MODELS.build(ConfigDict(
        type='HRDAEncoderDecoder', hr_crop_size=(SIZE, SIZE),
        backbone=dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=8),
        neck=dict(type='InterCoderNeck', in_channels=(8, 16, 32, 64), latent_channels=4, latent_index=1,
                  skip_channels=(6, 5)),
        decode_head=dict(head, type='HRDAHead', single_scale_head='LatentDiffusionHead', hr_loss_weight=0.1,
                         attention_embed_dim=3),
        train_cfg=dict(), test_cfg=dict(mode='whole')))
    big = [SegDataSample(gt_sem_seg=PixelData(data=label.repeat_interleave(2, 0).repeat_interleave(2, 1)[None]),
                         metainfo=dict(sample_seed=seed)) for label, seed in zip(labels(), (11, 12))]
    images = torch.randn(2, 3, 2 * SIZE, 2 * SIZE)
    network.train(True)
    losses = network.loss(images, big)
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    assert {'decode.loss_noise', 'decode.hr.loss_noise', 'decode.hr.loss_ce'} <= set(losses)
    assert grad(network.decode_head.head.denoiser) > 0 and grad(network.backbone) > 0
    assert network.decode_head.scale_attention.denoiser is None and grad(network.decode_head.scale_attention) > 0
    network.train(False)
    logits = network.encode_decode(images, [dict(img_shape=(2 * SIZE, 2 * SIZE))] * 2)
    assert logits.shape == (2, CLASSES, 2 * SIZE, 2 * SIZE)


# --- errors ---


@pytest.mark.parametrize('changes, message', [
    (dict(denoiser=dict(UNET, type='UNet3D')), "denoiser.type is 'UNet3D', allowed are"),
    (dict(denoiser=dict(UNET, in_channels=3)), 'takes no in_channels here'),
    (dict(denoiser=dict(UNET, up_block_types=('UpBlock2D', ))), 'UNet2DModel refuses'),
    (dict(denoiser=dict(type='UNet2DConditionModel', block_out_channels=(8, 16, 16, 16), norm_num_groups=4)),
     'cross attention blocks .*nothing to attend to'),
    (dict(condition='text'), "condition is 'text', allowed are"),
    (dict(condition='mask_attention'), "needs decode_head.denoiser.type='UNet2DConditionModel'"),
    (dict(diffused='noise'), "diffused is 'noise', allowed are 'image' and 'label'"),
    (dict(diffused='label'), "set decode_head.condition='concat', got 'none'"),
    (dict(diffused='label', condition='concat', inference=dict(steps=0)), 'leaves nothing to decode'),
    (dict(mask_encoder=EMBEDDED), "mask_encoder is not used with condition='none'"),
    (dict(inference=dict(condition='prediction')), 'makes a mask, which condition=.none. has no use for'),
    (MASKED, 'needs a mask encoder: set decode_head.mask_encoder'),
    (dict(inference=dict(start=1000)), 'start is 1000, allowed are None and 0 to 999'),
    (dict(inference=dict(step=1)), 'inference has no step; it has condition, ensemble'),
    (dict(inference=dict(noise='none')), "inference.noise is 'none', allowed are"),
    (dict(inference=dict(steps=-1)), 'steps=-1 and ensemble=1'),
    (dict(inference=dict(noise='zero', ensemble=2)), "equal with noise='zero'"),
    (dict(training=dict(condition_dropout=2)), 'condition_dropout=2'),
    (dict(training=dict(decoder_input='noise')), "training.decoder_input is 'noise'"),
    (dict(decoder_channels=(8, )), 'lists 2 skips before the latent.*has 1 stages'),
    (dict(scheduler=dict(type='DDIMScheduler', rescale_betas_zero_snr=True)), 'holds no signal.*set prediction_type='),
])
def test_refuses_settings_that_cannot_work(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_refuses_a_latent_that_does_not_divide():
    with pytest.raises(ValueError, match='latent has 3 x 3 places.*multiples of 2: change the crop size'):
        build()([torch.randn(1, 6, 6, 6), torch.randn(1, 5, 3, 3), torch.randn(1, 4, 3, 3)])


@pytest.mark.parametrize('mode, left_out', [
    ('image', set()), ('mask', {'mask_encoder'}), ('two_passes', set()), ('label', {'label_latent'}),
    ('bypassed', {'denoiser'})])
def test_a_head_for_prediction_has_what_it_needs(mode, left_out):
    head = build(**MODES[mode]).eval()
    small = MODELS.build({**HEAD, **copy.deepcopy(MODES[mode]), 'for_training': False})
    state, own = head.state_dict(), small.state_dict()
    assert {name.split('.')[0] for name in state if name not in own} == left_out
    small.load_state_dict({name: state[name] for name in own})
    assert torch.equal(small.eval()(features()), head(features()))
    with pytest.raises(ValueError, match='set decode_head.for_training=True'):
        small.loss(features(), samples(), None)


def test_estimate_needs_a_denoiser():
    with pytest.raises(ValueError, match='has no denoiser: set decode_head.denoiser'):
        build(denoiser=None).estimate(features()[2], None)
