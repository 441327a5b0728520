"""Predictions of a latent diffusion head: without labels, the same in every batch and window, one encoder pass."""
import pytest
import torch
from mmengine.config import ConfigDict
from tiny_latent_head import MODES, SIZE, build, features, samples, segmentor, two_scale_segmentor


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


@pytest.mark.parametrize('kind', ['slide', 'training', 'two_scales'])
@pytest.mark.parametrize('mode', ['image_concat', 'zero_noise', 'switch', 'label', 'spread_label', 'two_passes'])
def test_no_way_to_predict_sees_a_label(mode, kind):
    """In windows, in training mode (as a teacher), and at two scales."""
    network = (two_scale_segmentor if kind == 'two_scales' else segmentor)(**MODES[mode]).train(kind == 'training')
    if kind == 'slide':
        network.test_cfg = ConfigDict(mode='slide', crop_size=(SIZE // 2, SIZE), stride=(SIZE // 4, SIZE))
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


@pytest.mark.parametrize('scheduler', ['DDPMScheduler', 'LCMScheduler', 'EulerAncestralDiscreteScheduler'])
def test_noise_of_the_steps_is_not_that_of_the_start(scheduler):
    head = build(scheduler=dict(type=scheduler), inference=dict(steps=2, start=299))
    for parameter in head.denoiser.unet.conv_out.parameters():
        parameter.data.zero_()
    noise = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(0))
    after_one, _ = head.trajectory(torch.zeros(1, 4, 4, 4))  # a share of the start, and what the step adds
    rest = after_one[0] - (after_one[0] * noise).sum() / noise.square().sum() * noise
    assert rest.norm() > 0.1 * after_one.norm()


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


@pytest.mark.parametrize('mode', MODES)
def test_a_window_is_predicted_as_it_is_alone(mode):
    network = segmentor(**MODES[mode])
    network.test_cfg = ConfigDict(mode='slide', crop_size=(SIZE, SIZE), stride=(SIZE, SIZE))
    image = torch.randn(1, 3, 2 * SIZE, SIZE)
    whole = network.inference(image, [dict(img_shape=(2 * SIZE, SIZE), ori_shape=(2 * SIZE, SIZE))])
    for rows in (slice(0, SIZE), slice(SIZE, 2 * SIZE)):
        alone = network.encode_decode(image[:, :, rows], [dict(img_shape=(SIZE, SIZE))])
        torch.testing.assert_close(whole[:, :, rows], alone)


@pytest.mark.parametrize('mode', MODES)
def test_windows_that_overlap_are_averaged_as_each_is_alone(mode):
    network = segmentor(**MODES[mode])
    network.test_cfg = ConfigDict(mode='slide', crop_size=(SIZE, SIZE), stride=(SIZE // 2, SIZE))
    image, size = torch.randn(1, 3, 2 * SIZE, SIZE), (2 * SIZE, SIZE)
    whole = network.inference(image, [dict(img_shape=size, ori_shape=size)])
    total, count = torch.zeros_like(whole), torch.zeros(1, 1, *size)
    for top in (0, SIZE // 2, SIZE):
        rows = slice(top, top + SIZE)
        total[:, :, rows] += network.encode_decode(image[:, :, rows], [dict(img_shape=(SIZE, SIZE))])
        count[:, :, rows] += 1
    torch.testing.assert_close(whole, total / count)


def test_two_passes_condition_on_the_first_prediction():
    head = build(**MODES['two_passes']).eval()
    skip_0, skip_1, latent = features()
    *_, first = head.trajectory(latent)
    first = head.decode(first, [skip_0, skip_1]).argmax(1)
    tokens = head.mask_encoder(first, (2, 2))
    *_, denoised = head.trajectory(latent, tokens)
    assert torch.equal(head([skip_0, skip_1, latent]), head.decode(denoised, [skip_0, skip_1]))
