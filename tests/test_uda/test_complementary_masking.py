"""Complementary masks: the two images, their losses and their agreement against the formulas, and what an export keeps."""
import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS

from mmseg_cicld.engine.exporting import plain_config, select_network
from mmseg_cicld.uda.objectives.complementary_masking import _mean_squared_difference

SOURCE = dict(type='SourceSupervision')
MIX = dict(type='ClassMixSelfTraining', threshold=0.06)
TWINS = dict(type='ComplementaryMasking', block=16, threshold=0.06)


def build(segmentor: dict, *objectives: dict, **kwargs):
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(type='ClassMixEMA', segmentor=copy.deepcopy(segmentor),
                                   objectives=copy.deepcopy(list(objectives)),
                                   **{'teacher': dict(momentum=0.9), **kwargs})).train()


def step(model, data: dict, lr: float = 1e-2) -> dict:
    """One step; ``model.context`` and ``model.forwards`` keep what the masked objective saw and got."""
    model.forwards = {}

    def before(module, args):
        model.context, train_student = args[0], args[0].train_student

        def record(name, *batch):
            model.forwards[name] = batch, train_student(name, *batch)
            return model.forwards[name][1]

        model.context.train_student = record

    handle = model.objectives[-1].register_forward_pre_hook(before)
    parameters = [p for p in model.parameters() if p.requires_grad]
    log = model.train_step(data, OptimWrapper(torch.optim.SGD(parameters, lr=lr)))
    handle.remove()
    return log


def test_the_two_images_are_the_whole_in_blocks(segmentor, batch):
    model = build(segmentor(), SOURCE, MIX, dict(TWINS, augment=False))
    step(model, batch())
    first, second = (model.forwards[f'twins.{twin}'][0][0] for twin in ('first', 'second'))
    assert torch.equal(first + second, model.context.target.images_BCHW)
    assert ((first == 0) | (second == 0)).all()
    hidden = (first == 0).all(1).float()
    blocks = hidden.unfold(1, 16, 16).unfold(2, 16, 16).flatten(3)
    assert torch.equal(blocks.amin(-1), blocks.amax(-1)) and 0 < hidden.mean() < 1
    assert not torch.equal(hidden[0], hidden[1])


def test_half_of_the_blocks_are_hidden_and_other_draws_change_nothing(segmentor, batch):
    model = build(segmentor(), SOURCE, MIX, dict(TWINS, block=4, augment=False))
    step(model, batch())
    first = model.forwards['twins.first'][0][0]
    assert float((first == 0).all(1).float().mean()) == pytest.approx(0.5, abs=0.08)
    masked = dict(type='MaskedConsistency', block=16, threshold=0.06)
    again = build(segmentor(), SOURCE, masked, MIX, dict(TWINS, block=4, augment=False))
    step(again, batch())
    assert torch.equal(again.forwards['twins.first'][0][0], first)
    step(model, batch())
    assert not torch.equal(model.forwards['twins.first'][0][0], first)


def test_both_are_augmented_alike(segmentor, batch):
    seen = []
    for augment in (True, False):
        model = build(segmentor(), SOURCE, MIX, dict(TWINS, augment=augment))
        model.streams = type(model.streams)(3)
        step(model, batch())
        seen.append(sum(model.forwards[f'twins.{twin}'][0][0] for twin in ('first', 'second')))
    assert not torch.equal(*seen)
    assert torch.equal(seen[1], model.context.target.images_BCHW)


def test_losses_are_half_of_each_and_the_squared_difference(segmentor, batch):
    model = build(segmentor(), SOURCE, MIX, dict(TWINS, consistency=0.3, ignore_top=8))
    log = step(model, batch())
    pseudo = model.context.pseudo_labels(model.objectives[-1].rule)
    logits = []
    for twin in ('first', 'second'):
        (_, labels, weights), output = model.forwards[f'twins.{twin}']
        assert torch.equal(labels, pseudo.labels_BHW) and torch.equal(weights, pseudo.weights_BHW)
        pixels = F.cross_entropy(output.logits_BCHW, labels, reduction='none')
        assert float(log[f'twins.{twin}.decode.loss_ce']) == pytest.approx(0.5 * float((weights * pixels).mean()), rel=1e-5)
        logits.append(output.logits_BCHW)
    expected = 0.3 * float(((logits[0] - logits[1])**2).mean())
    assert float(log['twins.loss_consistency']) == pytest.approx(expected, rel=1e-5) and expected > 0


def test_gradient_of_the_agreement_reaches_both_and_padding_does_not_count():
    first, second = (torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    real = torch.rand(2, 4, 5) > 0.3
    _mean_squared_difference(first, second, real).backward()
    expected = 2 * (first - second).detach() * real[:, None] / first.numel()
    torch.testing.assert_close(first.grad, expected)
    torch.testing.assert_close(second.grad, -expected)
    assert torch.autograd.gradcheck(lambda one, other: _mean_squared_difference(one, other, None), (first, second))


def test_student_alone_learns_in_every_part(segmentor, batch):
    model = build(segmentor(), SOURCE, MIX, TWINS)
    for other in list(model.objectives)[:2]:
        other.register_forward_hook(lambda module, args, output: {
            key: value * 0 if 'loss' in key else value for key, value in output.items()})
    assert not list(model.objectives[-1].parameters())
    before = {name: value.clone() for name, value in model.named_parameters()}
    step(model, batch(), lr=1.0)
    moved = {name for name, value in model.named_parameters() if not torch.equal(before[name], value)}
    assert moved and all(name.startswith('student.') for name in moved)
    for part in ('student.backbone.layers.0', 'student.decode_head.conv_seg'):
        assert any(name.startswith(part) for name in moved)


def test_with_two_scales_each_has_a_detail_of_its_own(hrda, batch):
    log = step(build(hrda, SOURCE, MIX, TWINS), batch())
    assert {f'twins.{twin}.decode.hr.loss_ce' for twin in ('first', 'second')} <= set(log)
    assert float(log['twins.loss_consistency']) > 0


@pytest.mark.parametrize('name', ['deeplabv3plus', 'upernet', 'auxiliary', 'vit'])
def test_fits_every_segmentor(segmentor, batch, name):
    log = step(build(segmentor(name), SOURCE, MIX, TWINS), batch())
    assert all(torch.isfinite(value) for value in log.values())


def test_the_picture_of_a_step_shows_both(segmentor, batch):
    model = build(segmentor(), SOURCE, MIX, TWINS)
    model.keep_step = True
    step(model, batch())
    assert model.kept_step['first_masked_image'].shape == model.kept_step['second_masked_image'].shape == (2, 3, 64, 64)


@pytest.mark.parametrize('change, message', [
    (dict(block=0), 'block=0'), (dict(ratio=-0.1), 'ratio=-0.1'), (dict(consistency=-1), 'consistency=-1'),
    (dict(threshold=2.0), 'allowed are values in')])
def test_wrong_values_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(TWINS, **change))


def test_a_missing_teacher_and_images_smaller_than_a_block_are_named(segmentor, batch):
    with pytest.raises(ValueError, match=r"\['twins'\] need a teacher"):
        build(segmentor(), SOURCE, TWINS, teacher=None)
    with pytest.raises(ValueError, match='no room for blocks of 256'):
        step(build(segmentor(), SOURCE, MIX, dict(TWINS, block=256)), batch())


def test_export_predicts_bitwise_the_same(segmentor, batch):
    model = build(segmentor(), SOURCE, MIX, TWINS)
    step(model, batch())
    exported = MODELS.build(plain_config(Config(dict(model=dict(type='ClassMixEMA', segmentor=segmentor())))).model)
    exported.load_state_dict(select_network(model.state_dict(), 'student', 'a checkpoint'), strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(exported.eval()(images), model.student.eval()(images))
