"""Degradation consistency: supervision of each domain, draws, losses, gradients of each variant, errors."""
import copy
import weakref

import pytest
import torch
import torch.nn.functional as F
from degraded_training import DEGRADED, MIX, SOURCE, VARIANTS, build, step
from mmengine.optim import OptimWrapper
from mmengine.runner.checkpoint import load_state_dict
from mmseg.registry import MODELS
from training_forward import train_forward

from mmseg_cicld.models.losses import DegradationConsistencyLoss
from mmseg_cicld.random_streams import KeyedStreams


def test_supervision_and_draws_of_both_domains(segmentor, batch):
    model = build(segmentor(), [SOURCE, MIX, DEGRADED])
    step(model, batch())
    context, degradation = model.contexts[0], model.objectives[-1].degradation
    pseudo = context.pseudo_labels(model.objectives[-1].rule)
    levels = [int(KeyedStreams(0).uniform('degraded.level', 0, index) * 100) for index in range(2)]
    seeds = [KeyedStreams(0).integer('degraded.degradation.sample', 0, index) for index in range(2)]
    expected = dict(source=(context.source.images_BCHW, context.source.labels_BHW, None),
                    target=(context.target.images_BCHW, pseudo.labels_BHW, pseudo.weights_BHW))
    for domain, (images, labels, weights) in expected.items():
        seen = model.forwards[f'degraded.{domain}']
        assert torch.equal(seen[0], degradation(images, levels, seeds).images_BCHW)
        assert torch.equal(seen[1], labels)
        assert seen[2] is None if weights is None else torch.equal(seen[2], weights)
    assert len(set(levels)) == 2


def test_no_rows_of_the_target_are_left_out(segmentor, batch):
    model = build(segmentor(), [SOURCE, dict(MIX, ignore_top=8, ignore_bottom=8), DEGRADED])
    step(model, batch())
    weights = model.forwards['degraded.target'][2]
    assert float(weights.min()) == float(weights.max()) > 0


def test_pairs_share_level_and_noise_unless_told_otherwise(segmentor, batch):
    data = batch()
    data['target']['inputs'] = [image.clone() for image in data['source']['inputs']]
    for same in (True, False):
        model = build(segmentor(), [SOURCE, MIX, dict(DEGRADED, same_draws=same)])
        step(model, copy.deepcopy(data))
        source, target = (model.forwards[f'degraded.{domain}'][0] for domain in ('source', 'target'))
        assert torch.equal(source, target) == same
        assert not torch.equal(source[0], source[1])


def test_levels_cover_the_whole_range(segmentor, batch):
    model = build(segmentor(), [SOURCE, MIX, dict(DEGRADED, degradation=dict(type='BlurDegradation', steps=5))])
    step(model, batch())
    objective, context = model.objectives[-1], model.contexts[0]
    drawn = {level for seed in range(20) for level in objective._draws(_seeded(context, seed), 'source', 2)[0]}
    assert drawn == {0, 1, 2, 3, 4}


def _seeded(context, seed: int):
    context._streams = KeyedStreams(seed)
    return context


@pytest.mark.parametrize('degradation', [
    dict(type='NoiseDegradation'), dict(type='BlurDegradation'), dict(type='MaskDegradation', block=8),
    dict(type='MaskDegradation', shape='blob'),
    dict(type='MixedDegradation', degradations=[
        dict(type='NoiseDegradation', noise_stride=4), dict(type='BlurDegradation')])],
    ids=['noise', 'blur', 'block', 'blob', 'mixed'])
def test_every_degradation_trains(segmentor, batch, degradation):
    log = step(build(segmentor(), [SOURCE, MIX, dict(DEGRADED, degradation=degradation)]), batch())
    assert all(torch.isfinite(value) for value in log.values())


@pytest.mark.parametrize('name, factors', [('paper', (0.5, 5)), ('paper_deeplabv2', (0.5, 1)),
                                           ('released', (1 / 3, 20 / 3)), ((0.2, 0), (0.2, 0))])
def test_loss_is_the_direct_formula(name, factors):
    prediction, target = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    segmentation = {'decode.loss_ce': torch.tensor(2.0), 'decode.acc_seg': torch.tensor(50.0)}
    losses = DegradationConsistencyLoss(name)(segmentation, [prediction, target], [target, target])
    torch.testing.assert_close(losses['decode.loss_ce'], torch.tensor(2.0 * factors[0]))
    torch.testing.assert_close(losses['loss_reconstruction'], factors[1] * ((prediction - target)**2).mean() / 2)
    assert losses['decode.acc_seg'] == 50
    assert 'loss_reconstruction' not in DegradationConsistencyLoss(name)(segmentation)


def test_losses_of_a_step_are_the_direct_formulas(segmentor, batch):
    """Without compensation and reconstruction: half of the segmentor's own loss on the degraded images."""
    model = build(segmentor(dropout_ratio=0.0), [SOURCE, MIX, dict(DEGRADED, shift_encoder=None, reconstruction=None)])
    _without_stochastic_depth(model)
    student = copy.deepcopy(model.student)
    log = step(model, batch())
    for domain in ('source', 'target'):
        losses = train_forward(student, *model.forwards[f'degraded.{domain}']).losses
        expected = 0.5 * float(losses['decode.loss_ce'].detach())
        assert float(log[f'degraded.{domain}.decode.loss_ce']) == pytest.approx(expected, rel=1e-5)


def test_losses_with_a_separate_encoder_are_the_direct_formulas(segmentor, batch):
    model = build(segmentor(dropout_ratio=0.0), [SOURCE, MIX, dict(DEGRADED, threshold=0.085)])
    _without_stochastic_depth(model)
    before = copy.deepcopy(model)
    log = step(model, batch())
    images, labels, _ = model.forwards['degraded.source']
    objective = before.objectives[-1]
    features = [one + other for one, other in zip(before.student.backbone(images),
                                                  objective.shift_encoder.encoder.backbone(images))]
    logits = before.student.decode_head(features)
    expected = 0.5 * F.cross_entropy(F.interpolate(logits, size=(64, 64), mode='bilinear'), labels)
    assert float(log['degraded.source.decode.loss_ce']) == pytest.approx(float(expected), rel=1e-4)
    degraded = [tuple(features)]
    images, labels, weights = model.forwards['degraded.target']
    features = [one + other for one, other in zip(before.student.backbone(images),
                                                  objective.shift_encoder.encoder.backbone(images))]
    logits = F.interpolate(before.student.decode_head(features), size=(64, 64), mode='bilinear')
    clean = before.teacher.network.encode_decode(model.contexts[0].target.images_BCHW, [dict(img_shape=(64, 64))] * 2)
    confident = (clean.softmax(dim=1).amax(dim=1) > 0.085).float().mean()
    assert 0 < confident < 1 and torch.allclose(weights, confident)
    expected = 0.5 * (confident * F.cross_entropy(logits, labels, reduction='none')).mean()
    assert float(log['degraded.target.decode.loss_ce']) == pytest.approx(float(expected), rel=1e-4)
    target = torch.stack([torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(
        KeyedStreams(0).integer('degraded.degradation.sample', 0, index))) for index in range(2)])
    expected = 5 * F.mse_loss(objective.reconstruction_head(*degraded, (16, 16)), target)
    assert float(log['degraded.source.loss_reconstruction']) == pytest.approx(float(expected), rel=1e-4)


def _without_stochastic_depth(model) -> None:
    for module in model.modules():
        if type(module).__name__ == 'DropPath':
            module.drop_prob = 0.0


@pytest.mark.parametrize('shift_encoder, reconstruction', VARIANTS)
def test_which_parameters_receive_gradients(segmentor, batch, shift_encoder, reconstruction):
    options = dict(DEGRADED, shift_encoder=shift_encoder, reconstruction=reconstruction)
    model = build(segmentor(), [SOURCE, MIX, options])
    step(model, batch())  # the modulation starts at zero, so that its embedding learns from the second step on
    model.zero_grad()
    gradients = {}
    step_of = OptimWrapper.step
    OptimWrapper.step = lambda self, **kwargs: gradients.update(
        {name: p.grad is not None and bool((p.grad != 0).any()) for name, p in model.named_parameters()})
    try:
        step(model, batch())
    finally:
        OptimWrapper.step = step_of
    moved = {name for name, some in gradients.items() if some}
    expected = {None: set(), 'shared': {'shift_encoder.modulation'},
                'separate': {'shift_encoder.modulation', 'shift_encoder.encoder'}}[shift_encoder]
    expected = expected | ({'reconstruction_head'} if reconstruction else set())
    own = [name.removeprefix('objectives.2.') for name in gradients if name.startswith('objectives.2.')]
    assert {part for part in ('shift_encoder.modulation', 'shift_encoder.encoder', 'reconstruction_head')
            if any(name.startswith(part) for name in own)} == expected
    without = {name for name in set(gradients) - moved if not name.startswith('teacher.')}
    assert without <= {name for name in without if 'norm' in name or '.bias' in name}, without  # bias before a norm
    assert not any(name.startswith('teacher.') for name in moved)


@pytest.mark.parametrize('shift_encoder, reconstruction', VARIANTS)
def test_what_each_loss_of_the_degraded_images_reaches(segmentor, batch, shift_encoder, reconstruction):
    """Consistency all but the head that reconstructs, reconstruction all but the segmentor's head unless shared."""
    options = dict(DEGRADED, shift_encoder=shift_encoder, reconstruction=reconstruction)
    shifts = {None: set(), 'shared': {'modulation'}, 'separate': {'modulation', 'encoder'}}[shift_encoder]
    assert _reached(segmentor, batch, dict(options, weights=(1.0, 0.0))) == shifts | {'backbone', 'decode_head'}
    restoring = {None: set(), 'own_head': {'backbone', 'reconstruction_head', *shifts},
                 'shared_head': {'backbone', 'decode_head', 'reconstruction_head', *shifts}}[reconstruction]
    assert _reached(segmentor, batch, dict(options, weights=(0.0, 1.0))) == restoring


def _reached(segmentor, batch, options: dict) -> set[str]:
    """Returns the parts of student and objective to which the losses of the degraded source images have a gradient."""
    model = build(segmentor(), [SOURCE, options])
    step(model, batch(), lr=0.0)
    context, objective = model.contexts[0], model.objectives[-1]
    model.zero_grad()
    sum(value for key, value in objective.passes[0](context).items() if 'loss' in key).backward()
    names = [name for name, parameter in model.named_parameters()
             if parameter.grad is not None and bool((parameter.grad != 0).any())]
    return {part for name in names for part in name.split('.')
            if part in ('decode_head', 'reconstruction_head', 'modulation', 'encoder')
            or (part == 'backbone' and name.startswith('student.'))}


def test_graph_of_a_domain_is_freed_before_the_next(segmentor, batch):
    model = build(segmentor(), [SOURCE, MIX, DEGRADED])
    objective, features, alive = model.objectives[-1], [], []
    objective.shift_encoder.encoder.register_forward_hook(
        lambda module, args, output: features.append(weakref.ref(output[0])))
    objective.register_forward_pre_hook(
        lambda module, args, kwargs: alive.append((kwargs['domain'], [one() is not None for one in features])),
        with_kwargs=True)
    backward = model._backward
    model._backward = lambda *args: (alive.append(('backward', [one() is not None for one in features])),
                                     backward(*args))
    step(model, batch())
    assert alive == [('backward', []), ('backward', []), ('source', []), ('backward', [True]),
                     ('target', [False]), ('backward', [False, True])]


def test_running_statistics_see_clean_images_alone(segmentor, batch):
    model = build(segmentor('deeplabv3plus'), [SOURCE, MIX, DEGRADED])
    alone = build(segmentor('deeplabv3plus'), [SOURCE, MIX])
    step(model, batch())
    step(alone, batch())
    names = [name for name, _ in alone.student.named_buffers() if 'running' in name or 'num_batches' in name]
    assert names and all(torch.equal(model.student.get_buffer(name), alone.student.get_buffer(name)) for name in names)
    assert all(module.track_running_stats for module in model.modules() if hasattr(module, 'track_running_stats'))


def test_initialisation_reaches_the_separate_encoder(segmentor):
    model = build(segmentor(), [SOURCE, MIX, DEGRADED])
    model.init_weights()
    backbone = model.objectives[-1].shift_encoder.encoder.backbone
    assert all(torch.equal(value, backbone.state_dict()[name])
               for name, value in model.student.backbone.state_dict().items())


def test_weights_for_the_student_alone_reach_the_separate_encoder(segmentor):
    model = build(segmentor(), [SOURCE, MIX, DEGRADED])
    student = {f'student.{name}': torch.rand_like(value) if value.is_floating_point() else value
               for name, value in model.student.state_dict().items()}
    load_state_dict(model, student)
    encoder = model.objectives[-1].shift_encoder.encoder
    assert all(value.equal(student[f'student.{name}']) for name, value in encoder.state_dict().items())
    own = {name: torch.rand_like(value) if value.is_floating_point() else value
           for name, value in model.state_dict().items()}
    load_state_dict(model, own)  # with weights of its own, as in a resumed training, it has these
    assert all(value.equal(own[f'objectives.2.shift_encoder.encoder.{name}'])
               for name, value in encoder.state_dict().items())


def test_the_picture_of_a_step_shows_the_degraded_images(segmentor, batch):
    model = build(segmentor(), [SOURCE, MIX, DEGRADED])
    model.keep_step = True
    step(model, batch())
    for domain in ('source', 'target'):
        assert model.kept_step[f'degraded_{domain}_image'].shape == (2, 3, 64, 64)


@pytest.mark.parametrize('change, message', [
    (dict(shift_encoder='own'), "shift_encoder='own', allowed are"),
    (dict(reconstruction='head'), "reconstruction='head', allowed are"),
    (dict(shift_encoder='shared', recompute=True), 'remove recompute'),
    (dict(weights='mine'), "weights='mine'.*'paper'"),
    (dict(weights=(1, 2, 3)), 'give two numbers'),
    (dict(weights=(1, -2)), 'give two numbers'),
    (dict(threshold=2.0), 'allowed are values in'),
    (dict(degradation=dict(type='NoiseDegradation', steps=0)), 'steps=0'),
])
def test_wrong_values_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(DEGRADED, **change))


def test_recomputed_batch_norms_are_refused(segmentor):
    network = segmentor('deeplabv3plus')
    network['backbone']['with_cp'] = True
    with pytest.raises(ValueError, match='backbone.*with_cp=True'):
        build(network, [SOURCE, MIX, DEGRADED])


def test_missing_teacher_is_named(segmentor):
    with pytest.raises(ValueError, match=r"\['degraded'\] need a teacher"):
        build(segmentor(), [SOURCE, DEGRADED], teacher=None)
