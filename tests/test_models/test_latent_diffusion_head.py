"""Settings of a latent diffusion head that cannot work, and what a head for prediction consists of."""
import copy

import pytest
import torch
from mmseg.registry import MODELS
from tiny_latent_head import EMBEDDED, HEAD, MASKED, MODES, UNET, build, features, keyed_losses, samples


@pytest.mark.parametrize('changes, message', [
    (dict(denoiser=dict(UNET, type='UNet3D')), "denoiser.type is 'UNet3D', allowed are"),
    (dict(denoiser=dict(UNET, in_channels=3)), 'takes no in_channels here'),
    (dict(denoiser=dict(UNET, up_block_types=('UpBlock2D', ))), 'UNet2DModel refuses'),
    (dict(denoiser=dict(type='UNet2DConditionModel', block_out_channels=(8, 16, 16, 16), norm_num_groups=4)),
     'cross attention blocks .*nothing to attend to'),
    (dict(condition='text'), "condition is 'text', allowed are"),
    (dict(condition='mask_attention'), "needs decode_head.denoiser.type='UNet2DConditionModel'"),
    (dict(diffused='noise'), r"diffused is 'noise', allowed are \('image', 'label'\)"),
    (dict(denoiser=None, diffused='noise'), "diffused is 'noise', allowed are"),
    (dict(denoiser=None, condition='text'), "condition is 'text', allowed are"),
    (dict(diffused='label'), "set decode_head.condition='concat', got 'none'"),
    (dict(diffused='label', condition='concat', inference=dict(steps=0)), 'leaves nothing to decode'),
    (dict(mask_encoder=EMBEDDED), "mask_encoder is not used with condition='none'"),
    (dict(inference=dict(condition='prediction')), 'makes a mask, which condition=.none. has no use for'),
    (MASKED, 'needs a mask encoder: set decode_head.mask_encoder'),
    (dict(inference=dict(start=1000)), 'start is 1000, allowed are None and 0 to 999'),
    (dict(diffused='label', condition='concat', inference=dict(start=998)),
     'start is 998, .*only the last timestep, 999, is that: set decode_head.inference.start=None'),
    (dict(inference=dict(steps=11, start=9)), r'in 11 steps \(decode_head.inference.steps .*start=9, which leaves 10'),
    (dict(inference=dict(start=9), training=dict(prediction_steps=11)), 'in 11 steps .*training.prediction_steps'),
    (dict(inference=dict(steps=11, start=9), scheduler=dict(type='EulerDiscreteScheduler')), 'which leaves 10'),
    (dict(inference=dict(start=9), scheduler=dict(type='LCMScheduler')),
     'in 1 steps .*start=9 and the LCMScheduler of decode_head.scheduler: .*original_steps.*50'),
    (dict(inference=dict(step=1)), 'inference has no step; it has condition, noise'),
    (dict(inference=dict(noise='none')), "inference.noise is 'none', allowed are"),
    (dict(inference=dict(steps=-1)), 'inference.steps is -1'),
    (dict(diffused='label', condition='concat', training=dict(noise='zero', noise_loss_weight=0)), 'would show the label'),
    (dict(training=dict(class_codes='spread')), "class_codes are for diffused='label'"),
    (dict(training=dict(class_codes='far')), "class_codes is 'far', allowed are"),
    (dict(diffused='label', condition='concat', training=dict(correction=0.1)), "prediction_type='v_prediction' or 'sample'"),
    (dict(training=dict(correction=-1)), 'correction is -1'),
    (dict(training=dict(condition_dropout=2)), 'condition_dropout=2'),
    (dict(training=dict(decoder_input='noise')), "training.decoder_input is 'noise'"),
    (dict(training=dict(noise='none')), "training.noise is 'none', allowed are"),
    (dict(training=dict(noise='zero')), "noise='zero', noise_loss_weight=1.0 .*there is none: set"),
    (dict(decoder_channels=(8, )), 'lists 2 skips before the latent.*has 1 stages'),
    (dict(scheduler=dict(type='DDIMScheduler', rescale_betas_zero_snr=True)), 'holds no signal.*set prediction_type='),
])
def test_refuses_settings_that_cannot_work(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_the_other_keys_may_stay_where_there_is_no_denoiser():
    head = build(**{**MODES['two_passes'], 'denoiser': None})
    assert head(features()).isfinite().all() and head.mask_encoder is None


@pytest.mark.parametrize('condition', ['none', 'concat'])
def test_a_latent_that_does_not_divide_is_denoised_with_its_edges_repeated(condition):
    """Images of 180 rows have 23 rows of stride 8, which would fail in the first validation, after all of the training."""
    denoiser = build(condition=condition).eval().denoiser
    noisy, image, times = torch.randn(2, 4, 3, 5), torch.randn(2, 4, 3, 5), torch.tensor([7, 0])
    rows, columns = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 3, 4, 4])
    whole = denoiser(*(x[:, :, rows][..., columns] if x.dim() == 4 else x for x in (noisy, times, image)))
    assert torch.equal(denoiser(noisy, times, image), whole[:, :, :3, :5])
    assert whole[:, :, 3].abs().min() > 0


@pytest.mark.parametrize('mode', MODES)
def test_every_form_trains_and_predicts_at_sizes_that_do_not_divide(mode):
    head = build(**MODES[mode])
    given = [torch.randn(2, 6, 6, 10), torch.randn(2, 5, 3, 5), torch.randn(2, 4, 3, 5)]
    assert head(given).shape[2:] == (6, 10) and head(given).isfinite().all()
    labels = torch.randint(0, head.num_classes, (2, 24, 40))
    losses, logits = head.training_losses(given, labels, None, [1, 2])
    assert logits.shape[2:] == (24, 40) and all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize('widths, in_channels', [
    ((4, 4, 4), [4]),  # connected by mistake: the finest skip is as wide as the latent
    ((4, ), [6, 5, 4]),
    ((6, 5, 8), [6, 5, 4]),
], ids=['skips_without_stages', 'stages_without_skips', 'another_latent'])
def test_refuses_a_neck_that_gives_other_features(widths, in_channels):
    head = build(in_channels=in_channels)
    given = [torch.randn(1, width, size, size) for width, size in zip(widths, (8, 4, 4)[-len(widths):])]
    for use in (head, lambda inputs: head.loss(inputs, samples(1), None)):
        with pytest.raises(ValueError, match='neck gives features of .*neck.skip_channels, neck.latent_channels.*neck.'
                           'connect=False') as error:
            use(given)
        assert f'{list(widths)} channels, but decode_head.in_channels is {in_channels}' in str(error.value)


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
        keyed_losses(small, features())


def test_estimate_needs_a_denoiser():
    with pytest.raises(ValueError, match='has no denoiser: set decode_head.denoiser'):
        build(denoiser=None).estimate(features()[2], None)
