"""Training of a latent diffusion head: which loss reaches what, draws, masks, weights, precision, two scales."""
import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_latent_head import (CLASSES, MODES, SIZE, build, features, grad, keyed_losses, labels, samples, segmentor,
                              two_scale_segmentor)

from mmseg_cicld.engine.acceleration import compile_segmentors


@pytest.mark.parametrize('mode', MODES)
def test_trains_in_every_mode(mode):
    head, inputs = build(**MODES[mode]).train(), [level.requires_grad_() for level in features()]
    losses = keyed_losses(head, inputs)
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    assert losses['loss_ce'].isfinite() and ('loss_noise' in losses) == (mode != 'no_denoiser')
    assert grad(head.decoder) > 0 and inputs[0].grad.abs().sum() > 0
    assert inputs[2].grad is not None and inputs[2].grad.abs().sum() > 0


def gradients(loss, **changes):
    head, inputs = build(**changes).train(), [level.requires_grad_() for level in features()]
    losses = keyed_losses(head, inputs)
    losses[loss].backward()
    return dict(denoiser=grad(head.denoiser), decoder=grad(head.decoder) + grad(head.conv_seg),
                latent=0.0 if inputs[2].grad is None else float(inputs[2].grad.abs().sum()),
                skips=0.0 if inputs[0].grad is None else float(inputs[0].grad.abs().sum()))


@pytest.mark.parametrize('prediction', ['epsilon', 'v_prediction', 'sample'])  # two targets hold the latent
@pytest.mark.parametrize('condition', ['none', 'concat'])
def test_noise_loss_reaches_the_denoiser_only(condition, prediction):
    scheduler = dict(type='DDIMScheduler', prediction_type=prediction)
    found = gradients('loss_noise', condition=condition, scheduler=scheduler)
    assert found['denoiser'] > 0 and found['decoder'] == found['latent'] == found['skips'] == 0


def test_noise_loss_of_a_masked_denoiser_reaches_the_mask_encoder_too():
    network = segmentor(**MODES['mask'], training=dict(condition_dropout=0))
    network.loss(torch.randn(2, 3, SIZE, SIZE), samples())['decode.loss_noise'].backward()
    moved = {name for name, parameter in network.named_parameters()
             if parameter.grad is not None and parameter.grad.abs().sum() > 0}
    parts = ('decode_head.denoiser.', 'decode_head.mask_encoder.')
    assert all(name.startswith(parts) for name in moved)
    assert all(any(name.startswith(part) for name in moved) for part in parts)


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
        losses.append(head.loss(features(), samples(), None)['loss_noise'])
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


def test_pixel_weights_reach_the_segmentation_loss():
    head, weights = build(), torch.rand(2, SIZE, SIZE)
    losses, logits = head.training_losses(features(), labels(), weights, (11, 12))
    expected = (weights * F.cross_entropy(logits, labels(), ignore_index=255, reduction='none')).mean()
    torch.testing.assert_close(losses['loss_ce'], expected)
    assert keyed_losses(head, features(), torch.zeros(2, SIZE, SIZE))['loss_ce'] == 0


def test_bf16_autocast_keeps_the_latent_in_full_precision():
    head = build(inference=dict(steps=3))
    with torch.autocast('cpu', torch.bfloat16):
        losses, logits = keyed_losses(head, features()), head(features())
        *_, denoised = head.trajectory(features()[2])
    assert denoised.dtype == torch.float32 and logits.isfinite().all()
    sum(losses[key] for key in ('loss_ce', 'loss_noise')).backward()
    assert 0 < grad(head.denoiser) < float('inf')
    torch.testing.assert_close(losses['loss_noise'], keyed_losses(build(), features())['loss_noise'],
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
        torch.manual_seed(4)
        sum(value for key, value in net.loss(images, samples()).items() if 'loss' in key).backward()
    for (name, expected), found in zip(plain.named_parameters(), network.parameters()):
        torch.testing.assert_close(found.grad, expected.grad, msg=name)
    assert list(plain.state_dict()) == list(network.state_dict())


@pytest.mark.parametrize('mode', ['image', 'label', 'mask'])
def test_trains_and_predicts_at_two_scales(mode):
    network = two_scale_segmentor(**MODES[mode])
    big = [SegDataSample(gt_sem_seg=PixelData(data=label.repeat_interleave(2, 0).repeat_interleave(2, 1)[None]),
                         metainfo={}) for label in labels()]
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
