"""The distance to a frozen foundation model: formula, gradients, and that the model is in no checkpoint."""
import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from mmseg_cicld.engine.merged_parameter_groups import MergedOptimWrapperConstructor
from mmseg_cicld.models.segmentor_protocol import TrainableSegmentor
from mmseg_cicld.uda import FoundationFeatureDistance
from mmseg_cicld.uda.unsaved_network import UnsavedNetwork

init_default_scope('mmseg')
FROZEN = dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=8, norm_cfg=dict(type='BN'),
              init_cfg=dict(type='Kaiming', layer='Conv2d'))
DISTANCE = dict(type='FoundationFeatureDistance', network=FROZEN, out_channels=64, size=(80, 80), augmentation=False)
SOURCE = dict(type='SourceSupervision')


def build(segmentor: dict, *objectives: dict):
    torch.manual_seed(0)
    model = MODELS.build(dict(type='ClassMixEMA', segmentor=segmentor, objectives=copy.deepcopy([SOURCE, *objectives])))
    model.init_weights()
    return model.train()


def step(model, data: dict, lr: float = 0.0) -> dict:
    parameters = [p for p in model.parameters() if p.requires_grad]
    return model.train_step(data, OptimWrapper(torch.optim.SGD(parameters, lr=lr)))


def quiet(segmentor: dict) -> dict:
    segmentor['backbone'].update(drop_path_rate=0.0)
    return segmentor


def formula(model, images: torch.Tensor) -> torch.Tensor:
    """The loss of published figures, from convolutions: 1x1 to 4 D, norm over channels, GELU, 1x1, 29 x 29 places."""
    objective = model.objectives[1]
    first, norm, _, last = objective.head
    features = model.student.extract_feat(images)[-1]
    hidden = F.conv2d(features, first.weight[:, :, None, None], first.bias)
    mean, variance = hidden.mean(1, keepdim=True), hidden.var(1, keepdim=True, unbiased=False)
    hidden = (hidden - mean) / (variance + 1e-6).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
    hidden = F.conv2d(F.gelu(hidden), last.weight[:, :, None, None], last.bias)
    reference = objective.frozen.built()(F.interpolate(images, size=(80, 80), mode='bilinear'))[-1]
    hidden = F.interpolate(hidden, size=reference.shape[2:], mode='bilinear')
    difference = (hidden - reference).abs()
    smooth = torch.where(difference < 1, 0.5 * difference**2, difference - 0.5).mean(1)
    angle = 1 - (hidden * reference).sum(1) / (hidden.norm(dim=1) * reference.norm(dim=1))
    return (0.1 * smooth + 0.9 * angle).mean()


def test_loss_is_the_formula_on_both_domains(segmentor, batch):
    model = build(quiet(segmentor()), DISTANCE)
    with torch.no_grad():
        model.objectives[1].head[1].weight.uniform_(0.5, 2)
        model.objectives[1].head[1].bias.normal_()
    log = step(model, data := batch())
    for domain in ('source', 'target'):
        images = model.data_preprocessor(copy.deepcopy(data[domain]), True)['inputs']
        assert float(log[f'foundation.loss_{domain}']) == pytest.approx(0.1 * float(formula(model, images)), rel=1e-5)


def test_gradients_are_those_of_the_formula_and_reach_encoder_and_head_alone(segmentor, batch):
    model = build(quiet(segmentor()), dict(DISTANCE, source_weight=0.5, target_weight=0))
    images = model.data_preprocessor(batch()['source'], True)['inputs']
    (0.5 * formula(model, images)).backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.objectives[1].passes[0](model._context(batch()))['loss_source'].backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert set(gradients) == set(expected)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-7)
    assert {'.'.join(name.split('.')[:2]) for name in expected} == {'student.backbone', 'objectives.1'}


def test_learns_and_leaves_the_frozen_network_alone(segmentor, batch):
    model = build(segmentor(), dict(DISTANCE, augmentation=dict(type='PhotometricAugmentation')))
    frozen = model.objectives[1].frozen.built()
    before = copy.deepcopy(frozen.state_dict())
    head = copy.deepcopy(model.objectives[1].head.state_dict())
    log = step(model, batch(), lr=0.05)
    assert all(torch.equal(before[name], value) for name, value in frozen.state_dict().items())
    assert all(not torch.equal(head[name], value) for name, value in model.objectives[1].head.state_dict().items())
    for _ in range(5):
        later = step(model, batch(), lr=0.05)
    assert float(later['foundation.loss_target']) < float(log['foundation.loss_target'])


def test_frozen_network_is_in_no_checkpoint_no_optimiser_and_there_once(segmentor):
    model = build(segmentor(), DISTANCE)
    objective = model.objectives[1]
    frozen = {id(p) for p in objective.frozen.built().parameters()}
    assert frozen and objective.frozen.built() is objective.frozen.built()
    assert not frozen & {id(p) for p in model.parameters()}
    assert {name for name in model.state_dict() if name.startswith('objectives')} == {
        f'objectives.1.head.{index}.{part}' for index in (0, 1, 3) for part in ('weight', 'bias')}
    wrapper = MergedOptimWrapperConstructor(dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)))(model)
    optimised = {id(p) for group in wrapper.param_groups for p in group['params']}
    assert not frozen & optimised and {id(p) for p in objective.head.parameters()} <= optimised
    other = build(segmentor(), DISTANCE)
    assert other.load_state_dict(model.state_dict(), strict=True).missing_keys == []


def test_frozen_network_is_in_evaluation_mode_and_moves_with_the_model(segmentor):
    model = build(segmentor(), DISTANCE)
    frozen = model.objectives[1].frozen.built()
    assert not any(module.training for module in model.train().objectives[1].frozen.built().modules())
    model.double()
    assert {p.dtype for p in frozen.parameters()} == {torch.float64}
    assert not any(p.requires_grad for p in frozen.parameters())
    assert model.objectives[1].frozen.built() is frozen


def test_a_model_that_predicts_has_no_frozen_network(segmentor, monkeypatch):
    monkeypatch.setattr(UnsavedNetwork, 'built', lambda self: pytest.fail('was built'))
    model = MODELS.build(dict(type='ClassMixEMA', segmentor=segmentor(), objectives=[SOURCE, copy.deepcopy(DISTANCE)]))
    model.eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, 64, 64)).shape[1] == 19


def test_random_weights_are_the_same_in_every_run_and_disturb_nothing(segmentor):
    state = torch.get_rng_state()
    one = UnsavedNetwork(FROZEN).built()
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(3)
    other = UnsavedNetwork(FROZEN).double().built()
    for (name, value), same in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(value.to(same.dtype), same, msg=name)


def test_images_are_normalised_as_the_frozen_network_wants_them(segmentor, batch):
    config = quiet(segmentor())
    config['data_preprocessor'].update(mean=[127.5] * 3, std=[127.5] * 3)
    model = build(config, DISTANCE)
    seen = []
    model.objectives[1].frozen.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    data = batch()
    raw = torch.stack(data['source']['inputs']).flip(1).float()  # BGR
    step(model, data)
    mean = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
    std = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
    expected = F.interpolate((raw - mean) / std, size=(80, 80), mode='bilinear')
    torch.testing.assert_close(seen[0], expected, atol=1e-4, rtol=1e-4)


def test_student_alone_sees_changed_colours(segmentor, batch):
    model = build(quiet(segmentor()), dict(DISTANCE, augmentation=dict(type='PhotometricAugmentation')))
    frozen, student = [], []
    model.objectives[1].frozen.register_forward_pre_hook(lambda module, args: frozen.append(args[0]))
    model.student.backbone.register_forward_pre_hook(lambda module, args: student.append(args[0]))
    data = batch()
    clean = [model.data_preprocessor(copy.deepcopy(data[domain]), True)['inputs'] for domain in ('source', 'target')]
    step(model, data)
    for images, reference, seen in zip(clean, frozen, student[1:], strict=True):
        torch.testing.assert_close(reference, F.interpolate(images, size=(80, 80), mode='bilinear'))
        assert not torch.allclose(seen, images, atol=0.05)
    assert torch.equal(student[0], clean[0])


def test_defaults_are_the_published_ones():
    objective = FoundationFeatureDistance(FROZEN)
    assert objective.weights == dict(source=0.1, target=0.1) and (objective.smooth_l1, objective.cosine) == (0.1, 0.9)
    assert objective.size == (406, 406)
    weak = objective.augmentation
    assert (weak.brightness, weak.contrast, weak.saturation, weak.hue) == (32 / 255, 0.5, 0.5, 18 / 360)
    assert (weak.jitter_probability, weak.grey_probability, weak.blur_probability) == (0.9, 0, 0)


@pytest.mark.parametrize('weights, domains', [(dict(), 2), (dict(source_weight=0), 1), (dict(target_weight=0), 1)])
def test_domains_without_weight_are_left_out(segmentor, batch, weights, domains):
    model = build(segmentor(), dict(DISTANCE, **weights))
    log = step(model, batch())
    assert sum(name.startswith('foundation.loss') for name in log) == domains
    assert model.objectives[1].needs_target == ('target_weight' not in weights)


@pytest.mark.parametrize('changes, named', [
    (dict(source_weight=0, target_weight=0), 'give one of them, above 0'),
    (dict(source_weight=-1), 'source_weight=-1'),
    (dict(network=dict(type='NoSuchNet')), 'NoSuchNet')])
def test_what_cannot_be_is_refused(segmentor, changes, named):
    with pytest.raises((ValueError, KeyError), match=named):
        build(segmentor(), dict(DISTANCE, **changes))


@pytest.mark.parametrize('changes', [dict(channels=5), dict(out_channels=7)])
def test_other_channels_are_refused_with_those_that_fit(segmentor, batch, changes):
    model = build(segmentor(), dict(DISTANCE, **changes))
    with pytest.raises(ValueError, match='the student has 64 and the frozen network 64: set channels and out_channels'):
        step(model, batch())


def test_channels_are_read_off_the_head_or_asked_for(segmentor):
    assert build(segmentor(), DISTANCE).objectives[1].head[0].in_features == 64
    assert build(segmentor('deeplabv3plus'), DISTANCE).objectives[1].head[0].in_features == 64
    config = segmentor()
    model = MODELS.build(config)
    model.decode_head = nn.Identity()
    with pytest.raises(ValueError, match='off Identity.*set channels'):
        MODELS.build(DISTANCE).attach(TrainableSegmentor(model))
