"""The denoiser restores latents of degraded images and hidden places: formulas, gradients, draws, labels, export."""
import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS

from mmseg_cicld.engine.exporting import plain_config, select_network
from mmseg_cicld.uda import ClassMixEMA

SOURCE, MIX = dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining', threshold=0.06)
ONE_STEP = dict(timesteps='start', noise='zero', noise_loss_weight=0)
SHIFT = dict(type='LatentRestoration', degradation=dict(type='MaskDegradation', block=16), threshold=0.06)
HIDDEN = dict(type='MaskedRepresentationModeling', rebuilder='denoiser', cell=8, threshold=0.06)
SECOND = dict(SHIFT, task='reconstruction')
FORMS = dict(
    shift=(SHIFT, dict(training=dict(ONE_STEP, denoiser_learns_task=True))),
    hidden=(HIDDEN, dict(training=dict(ONE_STEP, decoder_input='latent', prediction_steps=0),
                         inference=dict(noise='zero', start=249, steps=0))),
    second=(SECOND, dict(training=dict(ONE_STEP, denoiser_learns_task=True), denoiser=dict(num_class_embeds=2))))


@pytest.fixture
def diffusing(diffusing):
    """The same with a head that takes one step without noise."""
    return lambda **head: diffusing(**{'inference': dict(noise='zero', start=249), **head})


def build(segmentor: dict, *objectives: dict, **kwargs) -> ClassMixEMA:
    torch.manual_seed(0)
    model = MODELS.build(dict(type='ClassMixEMA', segmentor=segmentor, objectives=copy.deepcopy(list(objectives)),
                              teacher=kwargs.pop('teacher', dict(momentum=0.9)), **kwargs)).double().train()
    for parameter in model.student.decode_head.denoiser.unet.conv_out.parameters():
        parameter.data.mul_(20)  # UNets of diffusers start with an output of almost zero
    return model


def form(diffusing, name: str, **changes) -> ClassMixEMA:
    objective, head = FORMS[name]
    return build(diffusing(**head), SOURCE, MIX, dict(objective, **changes))


def step(model: ClassMixEMA, data: dict, lr: float = 0.0) -> tuple[dict, object]:
    contexts = []
    handle = model.objectives[-1].register_forward_pre_hook(lambda module, args: contexts.append(args[0]))
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    log = model.train_step(data, OptimWrapper(torch.optim.SGD(parameters, lr=lr)))
    handle.remove()
    return log, contexts[0]


def restored(head, latent: torch.Tensor, task: int | None = None) -> torch.Tensor:
    """One step from timestep 249 without noise, from the published schedule."""
    share = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float32), 0)[249].double()
    switch = {} if task is None else dict(class_labels=torch.full((len(latent), ), task))
    noisy = share.sqrt() * latent
    return (noisy - (1 - share).sqrt() * head.denoiser.unet(noisy, 249, **switch).sample) / share.sqrt()


@pytest.mark.parametrize('name, task', [('shift', None), ('second', 1)])
@pytest.mark.parametrize('domain', ['source', 'target'])
def test_latent_loss_is_the_square_to_the_teachers_latent_of_the_clean_image(diffusing, batch, name, task, domain):
    model = form(diffusing, name, weight=0.7)
    log, context = step(model, batch())
    images = getattr(context, domain).images_BCHW
    degraded = model.objectives[-1]._degraded(context, f'restored.{domain}', images)
    assert degraded.shape == images.shape and not torch.equal(degraded, images)
    with torch.no_grad():
        clean = model.teacher.network.extract_feat(images)[-1]
        found = restored(model.student.decode_head, model.student.extract_feat(degraded)[-1], task)
    expected = 0.7 * float(F.mse_loss(found, clean))
    assert float(log[f'restored.{domain}.loss_latent']) == pytest.approx(expected, rel=1e-5)


def test_segmentation_loss_is_that_of_the_restored_latent(diffusing, batch):
    model = form(diffusing, 'shift')
    log, context = step(model, batch())
    degraded = model.objectives[-1]._degraded(context, 'restored.source', context.source.images_BCHW)
    with torch.no_grad():
        *skips, latent = model.student.extract_feat(degraded)
        head = model.student.decode_head
        logits = F.interpolate(head.decode(restored(head, latent), skips), size=(64, 64), mode='bilinear')
        labels = context.source.labels_BHW
        expected = F.cross_entropy(logits, labels, ignore_index=255, reduction='sum') / labels.numel()
    assert float(log['restored.source.decode.loss_ce']) == pytest.approx(float(expected), rel=1e-5)


def test_hidden_places_are_filled_by_the_denoiser_and_the_others_stay(diffusing, batch):
    model, seen = form(diffusing, 'hidden'), {}
    losses = model.student.decode_head.training_losses
    model.student.decode_head.training_losses = lambda levels, *args: seen.update(levels=levels) or losses(levels, *args)
    _, context = step(model, batch())
    objective, head = model.objectives[-1], model.student.decode_head
    view, = context.student_views('rebuilt', context.target.images_BCHW)
    visible = objective._visible(context, view, 0)
    assert 0 < float(visible.mean()) < 1
    with torch.no_grad():
        *skips, latent = context.student.encode(view).levels
        finest = F.interpolate(visible, size=skips[0].shape[2:], mode='nearest')
        expected = latent * visible + restored(head, latent * visible) * (1 - visible)
    torch.testing.assert_close(seen['levels'][0], skips[0] * finest)
    torch.testing.assert_close(seen['levels'][2], expected, rtol=1e-5, atol=1e-5)


PARTS = {'student.backbone': 'encoder', 'student.neck': 'neck', 'student.decode_head.denoiser': 'denoiser',
         'student.decode_head': 'decoder', 'teacher': 'teacher'}


def reached(model: ClassMixEMA, losses: dict, key: str) -> set[str]:
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(losses[key], [parameter for _, parameter in named], allow_unused=True)
    moved = [name for (name, _), gradient in zip(named, gradients) if gradient is not None and float(gradient.abs().max()) > 0]
    return {next(part for prefix, part in PARTS.items() if name.startswith(prefix)) for name in moved}


@pytest.mark.parametrize('name, key, own', [
    ('shift', 'source.loss_latent', {'encoder', 'neck', 'denoiser'}),
    ('shift', 'target.decode.loss_ce', {'encoder', 'neck', 'denoiser', 'decoder'}),
    ('hidden', 'decode.loss_ce', {'encoder', 'neck', 'denoiser', 'decoder'}),
    ('second', 'target.loss_latent', {'denoiser'})])
def test_gradients_reach_what_they_should(diffusing, batch, name, key, own):
    model = form(diffusing, name)
    _, context = step(model, batch())
    objective = model.objectives[-1]
    losses = objective(context) if name == 'hidden' else objective(context, domain=key.partition('.')[0])
    assert reached(model, losses, key) == own


def test_the_second_task_uses_no_labels_and_the_first_those_of_the_source(diffusing, batch):
    for name, same in (('second', True), ('shift', False)):
        logs = [step(form(diffusing, name), batch(classes=classes))[0] for classes in (19, 2)]
        keys = [key for key in logs[0] if key.startswith('restored.source')]
        assert keys and all((float(logs[0][key]) == float(logs[1][key])) for key in keys if 'latent' in key)
        assert any(float(logs[0][key]) != float(logs[1][key]) for key in keys) != same


def test_the_switch_tells_the_tasks_apart(diffusing):
    model = form(diffusing, 'second')
    head, latent = model.student.decode_head, torch.randn(2, 4, 8, 8, dtype=torch.float64)
    for task in (0, 1):
        torch.testing.assert_close(head.estimate(latent, (1, 2), task=task).clean_BChw, restored(head, latent, task),
                                   rtol=1e-5, atol=1e-5)
    assert not torch.allclose(restored(head, latent, 0), restored(head, latent, 1))


@pytest.mark.parametrize('name', FORMS)
def test_draws_are_keyed_and_running_statistics_stay(diffusing, batch, name):
    one, other = form(diffusing, name), form(diffusing, name)
    torch.manual_seed(1)
    first, _ = step(one, batch())
    torch.manual_seed(2)
    second, _ = step(other, batch())
    assert {key: float(value) for key, value in first.items()} == {key: float(value) for key, value in second.items()}
    plain = build(diffusing(**FORMS[name][1]), SOURCE, MIX)
    step(plain, batch())
    for network in ('student.backbone', 'student.decode_head', 'teacher.network'):
        for key, value in one.get_submodule(network).state_dict().items():
            if 'running' in key and not (name == 'hidden' and network == 'student.backbone'):  # MRM's are clean images
                assert torch.equal(value, plain.get_submodule(network).state_dict()[key]), (network, key)


@pytest.mark.parametrize('name', FORMS)
def test_two_scales(diffusing, batch, name):
    objective, head = FORMS[name]
    config = diffusing(**head)
    config.update(type='HRDAEncoderDecoder', hr_crop_size=(32, 32))
    config['decode_head'].update(type='HRDAHead', single_scale_head='LatentDiffusionHead', fixed_attention=0.5)
    torch.manual_seed(0)
    model = MODELS.build(dict(type='ClassMixEMA', segmentor=config, teacher=dict(momentum=0.9),
                              objectives=copy.deepcopy([SOURCE, MIX, dict(objective, name='own')]))).double().train()
    log, _ = step(model, batch())
    own = [float(value) for key, value in log.items() if key.startswith('own.') and 'loss' in key]
    assert own and all(value > 0 and value < float('inf') for value in own)


@pytest.mark.parametrize('name, left', [('shift', True), ('hidden', False), ('second', True)])
def test_export_predicts_the_same_and_leaves_a_bypassed_denoiser_behind(diffusing, batch, name, left):
    objective, head = FORMS[name]
    model = form(diffusing, name)
    step(model, batch())
    config = dict(model=dict(type='ClassMixEMA', segmentor=diffusing(**head)))
    exported = MODELS.build(plain_config(Config(copy.deepcopy(config))).model).double()
    own, state = exported.state_dict(), select_network(model.state_dict(), 'student', 'a checkpoint')
    exported.load_state_dict({key: state[key] for key in own})
    assert any('denoiser' in key for key in own) == left
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(exported.eval()(images), model.student.eval()(images))


@pytest.mark.parametrize('change, message', [
    (dict(task='depth'), "task='depth', allowed are"),
    (dict(weight=-1), 'weight=-1'),
    (dict(task='reconstruction', weight=0), 'above 0 for the reconstruction'),
    (dict(degradation=None, augmentation=False), 'nothing to restore')])
def test_wrong_values_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build({**SHIFT, **change})


def test_what_does_not_fit_is_named(segmentor, diffusing):
    with pytest.raises(TypeError, match='LatentRestoration needs a head that denoises latents'):
        MODELS.build(dict(type='ClassMixEMA', segmentor=segmentor(), objectives=[SOURCE, SHIFT], teacher=dict(momentum=0.9)))
    for objective, head, message in (
            (SHIFT, {}, "takes the degradation for the noise: set .*training=dict.noise='zero'"),
            (SHIFT, dict(training=dict(ONE_STEP, decoder_input='latent')), "decoder_input='estimate'"),
            (SECOND, FORMS['shift'][1], 'denoiser.num_class_embeds=2'),
            (SHIFT, dict(denoiser=None), 'needs a denoiser of image latents'),
            (HIDDEN, FORMS['shift'][1], "decoder_input='latent', so that the decoder sees"),
            (HIDDEN, dict(training=dict(decoder_input='latent')), 'takes the hidden places for the noise'),
            (dict(HIDDEN, levels=[1]), FORMS['hidden'][1], 'remove levels'),
            (dict(HIDDEN, rebuilder='unet'), FORMS['hidden'][1], "rebuilder='unet', allowed are")):
        with pytest.raises(ValueError, match=message):
            MODELS.build(dict(type='ClassMixEMA', segmentor=diffusing(**head), objectives=[SOURCE, copy.deepcopy(objective)],
                              teacher=dict(momentum=0.9)))
