"""The wrapper: its step, its contract with segmentors, and what it refuses."""
import copy
import math

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner.checkpoint import load_state_dict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from training_forward import train_forward

from mmseg_cicld.finite_losses import NonFiniteLossError
from mmseg_cicld.uda import ClassMixEMA, Objective

SOURCE = dict(type='SourceSupervision')
SELF_TRAINING = dict(type='ClassMixSelfTraining', threshold=0.06)
FEATURES = dict(type='SourceSupervision', feature_distance=dict(weight=0.005, min_ratio=0.25))


def build(segmentor, objectives=(FEATURES, SELF_TRAINING), **kwargs) -> ClassMixEMA:
    torch.manual_seed(0)
    kwargs.setdefault('teacher', dict(momentum=0.9))
    return MODELS.build(dict(type='ClassMixEMA', segmentor=segmentor, objectives=copy.deepcopy(list(objectives)),
                             **kwargs)).train()


def optimiser(model, lr: float = 1e-3, **kwargs) -> OptimWrapper:
    return OptimWrapper(torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr), **kwargs)


@pytest.mark.parametrize('name', ['segformer', 'deeplabv3plus', 'upernet', 'auxiliary'])
def test_wraps_any_segmentor_with_pixel_heads(segmentor, batch, name):
    model = build(segmentor(name))
    before = copy.deepcopy(model.student.state_dict())
    log = model.train_step(batch(), optimiser(model))
    assert {'loss', 'source.decode.loss_ce', 'source.loss_feature_distance', 'mix.decode.loss_ce'} <= set(log)
    assert ('mix.aux_1.loss_ce' in log) == (name == 'auxiliary')
    assert any(not torch.equal(before[key], value) for key, value in model.student.state_dict().items())
    model.eval()
    inputs = torch.stack(batch()['target']['inputs']).float()
    assert torch.equal(model(inputs, mode='tensor'), model.student(inputs, mode='tensor'))


def test_log_holds_the_sum_of_the_losses(segmentor, batch):
    model = build(segmentor())
    log = model.train_step(batch(), optimiser(model))
    parts = ['source.decode.loss_ce', 'source.loss_feature_distance', 'mix.decode.loss_ce']
    assert float(log['loss']) == pytest.approx(sum(float(log[part]) for part in parts), rel=1e-6)
    assert all(value.device.type == 'cpu' and not value.requires_grad for value in log.values())


def test_pixel_weights_reach_every_head(segmentor, batch):
    model = build(segmentor('auxiliary')).eval()
    images, labels = torch.randn(2, 3, 64, 64), torch.randint(0, 19, (2, 64, 64))
    weights = torch.rand(2, 64, 64)
    losses = train_forward(model.student, images, labels, weights).losses
    for key, logits in (('decode', model.student.decode_head), ('aux_1', model.student.auxiliary_head[1])):
        out = logits.forward(model.student.extract_feat(images))
        out = torch.nn.functional.interpolate(out, size=(64, 64), mode='bilinear', align_corners=False)
        expected = (torch.nn.functional.cross_entropy(out, labels, reduction='none') * weights).mean()
        torch.testing.assert_close(losses[f'{key}.loss_ce'], expected)


def test_gradients_are_those_of_the_summed_losses(segmentor, batch):
    """Backward passes one after the other add up to that of the sum: nothing is lost or counted twice."""
    separate, joined = (build(segmentor()) for _ in range(2))
    joined.load_state_dict(separate.state_dict())
    before = {name: p.detach().clone() for name, p in separate.student.named_parameters()}
    separate.train_step(batch(), optimiser(separate, lr=1.0))

    contexts = []
    joined.objectives[0].register_forward_pre_hook(lambda module, args: contexts.append(args[0]))
    probe = copy.deepcopy(joined.state_dict())
    joined.train_step(batch(), optimiser(joined, lr=0.0))
    joined.load_state_dict(probe)
    joined.zero_grad()
    joined.teacher.update(joined.student, 0)
    total = 0
    for objective in joined.objectives:
        torch.manual_seed(joined.streams.integer(f'network.{objective.name}', 0, 0))
        total = total + sum(value for key, value in objective(contexts[0]).items() if 'loss' in key)
    total.backward()
    for name, parameter in joined.student.named_parameters():
        moved = before[name] - dict(separate.student.named_parameters())[name]
        expected = torch.zeros_like(moved) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(moved, expected, atol=1e-5, rtol=1e-3)


def test_graphs_are_freed_after_each_objective(segmentor, batch):
    """No tensor with a graph is alive once the next objective starts."""
    import gc
    model = build(segmentor())
    alive = []

    def look(module, args):
        gc.collect()
        alive.append(sum(1 for o in gc.get_objects() if isinstance(o, torch.Tensor) and o.grad_fn is not None))

    model.objectives[0].register_forward_pre_hook(look)
    model.objectives[1].register_forward_pre_hook(look)
    model.train_step(batch(), optimiser(model))
    assert alive[0] == alive[1]


def test_it_is_registered_by_the_name_of_what_it_is_and_by_that_of_configs():
    assert MODELS.get('UDAWrapper') is MODELS.get('ClassMixEMA') is ClassMixEMA
    assert MODELS.get('DACS') is None  # configs of that name have other keys: the migration reads them


def test_same_seed_gives_the_same_step_whatever_happened_before(segmentor, batch):
    results = []
    for disturbance in (0, 1):
        model = build(segmentor())
        torch.rand(7 * disturbance)
        steps = optimiser(model)
        results.append([float(model.train_step(batch(i), steps)['loss']) for i in range(3)])
    assert results[0] == results[1]


def test_a_new_objective_does_not_change_what_others_draw(segmentor, batch):
    logs = []
    for objectives in ([SOURCE, SELF_TRAINING], [SOURCE, dict(type='EntropyMinimisation'), SELF_TRAINING]):
        model = build(segmentor(), objectives)
        logs.append(model.train_step(batch(), optimiser(model)))
    assert float(logs[0]['mix.decode.loss_ce']) == float(logs[1]['mix.decode.loss_ce'])


def test_accumulated_gradients_move_teacher_and_optimiser_once(segmentor, batch):
    model = build(segmentor())
    wrapper = optimiser(model, accumulative_counts=2)
    states = []
    for index in range(4):
        before = copy.deepcopy(model.student.state_dict())
        model.train_step(batch(index), wrapper)
        states.append(any(not torch.equal(before[name], value) for name, value in model.student.state_dict().items()
                          if name in dict(model.student.named_parameters())))
    assert states == [False, True, False, True]
    assert (int(model.iteration), int(model.updates), int(model.teacher_updates)) == (4, 2, 2)


def test_counters_survive_saving_and_loading(segmentor, batch):
    first, second = build(segmentor()), build(segmentor())
    steps = optimiser(first)
    for index in range(2):
        first.train_step(batch(index), steps)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    logs = [model.train_step(batch(2), optimiser(model)) for model in (first, second)]
    assert {key: float(value) for key, value in logs[0].items()} == {key: float(v) for key, v in logs[1].items()}


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_anything_changes(segmentor, batch, value):
    model = build(segmentor())
    wrapper = optimiser(model)
    model.train_step(batch(), wrapper)
    with torch.no_grad():
        model.student.decode_head.conv_seg.bias[3] = value
    student = copy.deepcopy(model.student.state_dict())
    momentum = copy.deepcopy(wrapper.state_dict())
    with pytest.raises(NonFiniteLossError, match=r'iteration 2: .*source.decode.loss_ce=(nan|inf).*source_0\.png'):
        model.train_step(batch(), wrapper)
    parameters = dict(model.student.named_parameters())
    assert all(torch.equal(student[name].nan_to_num(), value.nan_to_num()) for name, value in parameters.items())
    assert momentum == wrapper.state_dict()
    assert int(model.iteration) == 1


def test_keeps_a_picture_of_the_step_when_asked(segmentor, batch):
    model = build(segmentor())
    data = batch()
    model.keep_step = True
    model.train_step(data, optimiser(model))
    assert not model.keep_step
    assert set(model.kept_step) == {'source_image', 'source_label', 'target_image', 'pseudo_label', 'pseudo_weight',
                                    'pseudo_confidence', 'mixed_image', 'mixed_label', 'mixed_weight'}
    confidence_BHW = model.kept_step['pseudo_confidence']
    assert confidence_BHW.shape == model.kept_step['pseudo_label'].shape and confidence_BHW.min() >= 1 / 19
    assert confidence_BHW.max() <= 1
    raw = torch.stack(data['source']['inputs'])[:, [2, 1, 0]]
    assert torch.equal(model.kept_step['source_image'], raw)


def test_entropy_is_that_of_real_pixels(segmentor, batch):
    model = build(segmentor(), [SOURCE, dict(type='EntropyMinimisation', weight=0.5)], teacher=None)
    contexts = []
    model.objectives[1].register_forward_pre_hook(lambda module, args: contexts.append(args[0]))
    data = batch()
    data['target']['inputs'][0] = data['target']['inputs'][0][:, :40]
    model.train_step(data, optimiser(model, lr=0.0))
    model.eval()  # no drop path: the same logits twice
    loss = model.objectives[1](contexts[0])['loss']
    p = contexts[0].predict_student('entropy', contexts[0].target.images_BCHW).softmax(dim=1)
    entropy = -(p * p.log()).sum(dim=1) / math.log(19)
    expected = torch.cat([entropy[0, :40].flatten(), entropy[1].flatten()]).mean()
    torch.testing.assert_close(loss, 0.5 * expected)


@pytest.mark.parametrize('channels', [1, 4])
def test_images_of_one_and_of_four_channels_train_and_are_shown(segmentor, batch, channels):
    config, intensity = segmentor(), dict(type='IntensityAugmentation', jitter_probability=1.0)
    config['backbone']['in_channels'] = channels
    config['data_preprocessor'].update(mean=[120.] * channels, std=[60.] * channels, bgr_to_rgb=False)
    masked = dict(type='MaskedConsistency', block=16, threshold=None, augment=intensity)
    with pytest.raises(ValueError, match=f'8-bit RGB, but the images have {channels} channels.*IntensityAugmentation'):
        build(config, [SOURCE, SELF_TRAINING])
    model = build(config, [SOURCE, dict(SELF_TRAINING, augmentation=intensity), masked])
    data = batch()
    for domain in data.values():
        domain['inputs'] = [image[:1].repeat(channels, 1, 1) for image in domain['inputs']]
    model.keep_step = True
    log = model.train_step(data, optimiser(model))
    assert all(value.isfinite() for value in log.values())
    assert model.kept_step['mixed_image'].shape == (2, 3, 64, 64)


def test_teacher_can_be_evaluated(segmentor, batch):
    model = build(segmentor(), evaluate='teacher')
    model.train_step(batch(), optimiser(model, lr=0.1))
    model.eval()
    inputs = torch.stack(batch()['target']['inputs']).float()
    assert torch.equal(model(inputs, mode='tensor'), model.teacher.network(inputs, mode='tensor'))


def test_source_only_needs_neither_teacher_nor_target(segmentor, batch):
    model = build(segmentor(), [SOURCE], teacher=None)
    log = model.train_step(dict(source=batch()['source']), optimiser(model))
    assert set(log) == {'loss', 'source.decode.loss_ce', 'source.decode.acc_seg'}


@pytest.mark.parametrize('parts', [['decode_head'], ['backbone.layers.0', 'decode_head.conv_seg.bias']])
def test_only_the_named_parts_are_trained_by_losses_that_reach_all(segmentor, batch, parts):
    model = build(segmentor(), train_only=parts)
    before = copy.deepcopy(model.student.state_dict())

    def named(names):
        return {name for name in names if any(f'{name}.'.startswith(f'{part}.') for part in parts)}

    parameters = dict(model.student.named_parameters())
    assert {name for name, parameter in parameters.items() if parameter.requires_grad} == named(parameters)
    model.train_step(batch(), optimiser(model, lr=0.1))
    moved = {name for name, value in model.student.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == named(moved) and len(moved & set(parameters)) > len(named(parameters)) / 2


def test_batch_of_one(segmentor, batch):
    model = build(segmentor(norm_cfg=dict(type='GN', num_groups=4)))
    assert torch.isfinite(model.train_step(batch(images=1), optimiser(model))['loss'])


def test_labels_that_are_all_ignored_train_without_harm(segmentor, batch):
    model = build(segmentor())
    data = batch()
    for sample in data['source']['data_samples']:
        sample.gt_sem_seg = PixelData(data=torch.full((1, 64, 64), 255))
    log = model.train_step(data, optimiser(model))
    assert float(log['source.decode.loss_ce']) == 0
    assert float(log['source.loss_feature_distance']) == 0
    assert all(torch.isfinite(p).all() for p in model.student.parameters())


@pytest.mark.parametrize('change, error, words', [
    (dict(objectives=[]), ValueError, 'model.objectives is empty'),
    (dict(objectives=[SOURCE, SOURCE]), ValueError, r"called \['source'\]"),
    (dict(teacher=None), ValueError, r"\['mix'\] need a teacher"),
    (dict(evaluate='ema'), ValueError, "'student' and 'teacher'"),
    (dict(teacher=dict(momentum=1.0)), ValueError, r'model.teacher.momentum is 1.0'),
    (dict(objectives=[dict(type='ClassMixSelfTraining', threshold=3)]), ValueError, 'threshold'),
    (dict(objectives=[dict(type='OutputSpaceAdversarial', loss='hinge')]), ValueError, 'least_squares'),
    (dict(objectives=[dict(type='SourceSupervision', feature_distance=dict(classes='stuff'))]), ValueError, 'things'),
    (dict(objectives=[dict(type='SourceSupervision', feature_distance=dict(classes=[30]))]), ValueError, '19 classes'),
])
def test_contradicting_configs_are_refused(segmentor, change, error, words):
    config = dict(objectives=[SOURCE, SELF_TRAINING])
    config.update(change)
    with pytest.raises(error, match=words):
        build(segmentor(), **config)


def test_a_sampler_of_its_own_is_refused(segmentor):
    with pytest.raises(ValueError, match='decode_head.sampler'):
        build(segmentor(sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=10)))


@pytest.mark.parametrize('config, needs', [
    (SOURCE, ''), (SELF_TRAINING, 'target teacher'), (dict(type='EntropyMinimisation'), 'target predictions'),
    (dict(type='OutputSpaceAdversarial'), 'target predictions'), (dict(type='DegradationConsistency'), 'target teacher'),
    (dict(type='MaskedConsistency'), 'target teacher'), (dict(type='MaskedConsistency', images='both'), 'target teacher'),
    (dict(type='MaskedConsistency', images='source'), ''),
    (dict(type='MaskedConsistency', own_teacher=dict(momentum=0.9)), 'target'), (dict(type='LatentDomainAlignment'), 'target'),
    (dict(type='LatentDomainAlignment', mixed=None, mixing=dict(threshold=0.9)), 'target teacher'),
], ids=lambda part: part if isinstance(part, str) else part['type'])
def test_objectives_say_what_they_need(config, needs):
    objective = MODELS.build(config)
    assert {need for need in ('target', 'teacher', 'predictions') if getattr(objective, f'needs_{need}')} == set(needs.split())


def test_missing_parts_of_a_batch_are_named(segmentor, batch):
    model = build(segmentor())
    with pytest.raises(ValueError, match=r"\['mix'\] need target images"):
        model.train_step(dict(source=batch()['source']), optimiser(model))
    with pytest.raises(ValueError, match="under the key 'source'"):
        model.train_step(dict(source=batch()['target']), optimiser(model))


@pytest.mark.parametrize('objectives, words', [
    ([dict(type='OutputSpaceAdversarial')], r"source=.* no objective of that name: put .*'SourceSupervision'"),
    ([dict(type='OutputSpaceAdversarial'), SOURCE], "'source' comes later in model.objectives: move it before"),
    ([SOURCE, SELF_TRAINING, dict(type='OutputSpaceAdversarial', source='mix')],
     r"that is a ClassMixSelfTraining, which has none: set source to one of \['source'\]"),
    ([dict(SOURCE, name='labelled'), dict(type='OutputSpaceAdversarial')], r"set source to one of \['labelled'\]"),
])
def test_order_and_names_of_objectives_are_checked_at_build(segmentor, objectives, words):
    with pytest.raises(ValueError, match=words):
        build(segmentor(), objectives)


def test_an_objective_that_computes_nothing_is_refused_at_build(segmentor):
    with pytest.raises(TypeError, match='holds a Nothing, which computes no loss'):
        build(segmentor(), [dict(type=Nothing, name='nothing')])
    with pytest.raises(TypeError, match='holds a ReLU, which is not an Objective'):
        build(segmentor(), [dict(type=torch.nn.ReLU)])


def test_an_objective_that_only_logs_is_refused_by_name(segmentor, batch):
    model = build(segmentor(), [SOURCE, dict(type=OnlyLogs, name='quiet')])
    with pytest.raises(ValueError, match="objective quiet gave no loss, only .'accuracy'."):
        model.train_step(batch(), optimiser(model))


class Nothing(Objective):
    """Has neither forward nor passes."""


class OnlyLogs(Objective):
    """Gives an entry that is not a loss."""

    def forward(self, context):
        return dict(accuracy=torch.ones(()))


def test_a_parameter_that_the_optimiser_lacks_is_refused_before_the_first_iteration(segmentor, batch):
    model = build(segmentor(), [SOURCE, dict(type='OutputSpaceAdversarial')])
    before = copy.deepcopy(model.state_dict())
    partly = OptimWrapper(torch.optim.SGD(model.student.parameters(), lr=0.1))
    with pytest.raises(ValueError, match=r'10 parameters are trained.*objectives.1.discriminator.0.weight'):
        model.train_step(batch(), partly)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_several_optimisers_are_refused_in_one_line(segmentor, batch):
    model = build(segmentor(), [SOURCE])
    several = OptimWrapperDict(backbone=optimiser(model.student.backbone), head=optimiser(model.student.decode_head))
    with pytest.raises(TypeError, match='several optimisers, but student and objectives are updated by one'):
        model.train_step(batch(), several)


def test_objectives_are_attached_once_and_start_from_the_initialised_student(segmentor):
    model = build(segmentor(), [dict(type=Counting, name='counting'), FEATURES])
    frozen = model.objectives[1].feature_distance.frozen
    parameters = {id(parameter) for parameter in model.parameters()}
    with torch.no_grad():
        next(model.student.backbone.parameters()).add_(1)
    model.init_weights()
    assert model.objectives[0].calls == ['attach', 'start_from']
    assert model.objectives[1].feature_distance.frozen is frozen
    assert {id(parameter) for parameter in model.parameters()} == parameters
    for name, value in frozen.state_dict().items():
        assert torch.equal(value, model.student.state_dict()[name])


class Counting(Objective):
    """Notes what the wrapper calls."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.calls: list[str] = []

    def attach(self, student):
        self.calls.append('attach')

    def start_from(self, student):
        self.calls.append('start_from')

    def forward(self, context):
        return dict(loss=torch.zeros(()))


def test_adversary_sends_each_gradient_where_it_belongs(segmentor, batch):
    model = build(segmentor(), [SOURCE, dict(type='OutputSpaceAdversarial')], teacher=None)
    contexts = []
    model.objectives[1].register_forward_pre_hook(lambda module, args: contexts.append(args[0]))
    model.train_step(batch(), optimiser(model, lr=0.0))
    losses = model.objectives[1](contexts[0])
    discriminator, student = list(model.objectives[1].parameters()), list(model.student.parameters())
    of_student = torch.autograd.grad(losses['loss_student'], discriminator + student, allow_unused=True,
                                     retain_graph=True)
    assert all(g is None for g in of_student[:len(discriminator)])
    assert any(g is not None and g.abs().sum() > 0 for g in of_student[len(discriminator):])
    for key in ('loss_discriminator_source', 'loss_discriminator_target'):
        gradients = torch.autograd.grad(losses[key], discriminator + student, allow_unused=True)
        assert all(g is not None for g in gradients[:len(discriminator)])
        assert all(g is None for g in gradients[len(discriminator):])


def test_a_teacher_that_never_predicts_is_not_evaluated_with_batch_norms(segmentor):
    config = dict(type='ClassMixEMA', teacher=dict(momentum=0.9), objectives=[dict(type='SourceSupervision')],
                  evaluate='teacher')
    with pytest.raises(ValueError, match="set model.evaluate='student'"):
        MODELS.build(dict(config, segmentor=segmentor('deeplabv3plus')))
    MODELS.build(dict(config, segmentor=segmentor('deeplabv3plus'), evaluate='student'))


def test_weights_for_the_student_alone_are_the_teachers_too(segmentor):
    config = dict(type='ClassMixEMA', segmentor=segmentor('deeplabv3plus'), objectives=[
        dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining', threshold=0.1)], teacher=dict(momentum=0.9))
    trained, model = MODELS.build(copy.deepcopy(config)), MODELS.build(copy.deepcopy(config))
    state = {name: torch.rand_like(value) if value.is_floating_point() else value
             for name, value in trained.state_dict().items()}
    student = {name: value for name, value in state.items() if name.startswith('student.')}
    load_state_dict(model, student)
    assert all(value.equal(model.student.get_buffer(name)) for name, value in model.teacher.network.named_buffers())
    assert any(name.endswith('running_mean') for name, _ in model.teacher.network.named_buffers())
    load_state_dict(model, state)  # with weights of its own the teacher has these
    mean = 'backbone.stem.1.running_mean'
    assert model.teacher.network.get_buffer(mean).equal(state[f'teacher.network.{mean}'])
