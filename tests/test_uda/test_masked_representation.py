"""Masked representation modeling: its loss against the formula, what learns, both scales, and what an export keeps."""
import copy

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS

from mmseg_cicld.engine.exporting import plain_config, select_network
from mmseg_cicld.models.head_losses import head_losses

SOURCE = dict(type='SourceSupervision')
MIX = dict(type='ClassMixSelfTraining', threshold=0.06)
REBUILT = dict(type='MaskedRepresentationModeling', cell=16, width=16, heads=2, threshold=0.06)


def build(segmentor: dict, *objectives: dict, **kwargs):
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(type='ClassMixEMA', segmentor=copy.deepcopy(segmentor),
                                   objectives=copy.deepcopy(list(objectives)),
                                   **{'teacher': dict(momentum=0.9), **kwargs})).train()


def step(model, data: dict, lr: float = 1e-2) -> dict:
    """One step; ``model.seen`` keeps the rebuilt features, their batch and the mask of each view."""
    model.seen, objective = {}, model.objectives[-1]

    def before(module, args):
        context, student_losses = args[0], args[0].student_losses

        def record(name, features, batch):
            model.seen.update(features=features, batch=batch)
            return student_losses(name, features, batch)

        context.student_losses = record
        model.seen['context'] = context

    def masked(module, args):
        model.seen.setdefault('calls', []).append(args)

    handles = [objective.register_forward_pre_hook(before), objective.rebuilder.register_forward_pre_hook(masked)]
    parameters = [p for p in model.parameters() if p.requires_grad]
    log = model.train_step(data, OptimWrapper(torch.optim.SGD(parameters, lr=lr)))
    for handle in handles:
        handle.remove()
    return log


def test_loss_is_that_of_the_head_on_rebuilt_features_with_pseudo_labels(segmentor, batch):
    model = build(segmentor(dropout_ratio=0.0), SOURCE, MIX, dict(REBUILT, weight=0.5, ignore_top=8))
    log = step(model, batch(), lr=0.0)
    context, given, (levels, visible) = model.seen['context'], model.seen['batch'], model.seen['calls'][0]
    pseudo = context.pseudo_labels(model.objectives[-1].rule)
    assert torch.equal(given.images_BCHW, context.target.images_BCHW) and torch.equal(given.labels_BHW, pseudo.labels_BHW)
    assert torch.equal(given.weights_BHW, pseudo.weights_BHW) and (given.weights_BHW[:, :8] == 0).all()
    rebuilt = model.objectives[-1].rebuilder(levels, visible)
    losses, _ = head_losses(model.student.decode_head, rebuilt, given.labels_BHW, given.weights_BHW)
    assert float(log['rebuilt.decode.loss_ce']) == pytest.approx(0.5 * float(losses['loss_ce']), rel=1e-5)


def test_encoder_head_and_rebuilder_learn_and_nothing_else(segmentor, batch):
    model = build(segmentor(), SOURCE, MIX, REBUILT)
    for other in list(model.objectives)[:2]:  # so that all that moves is moved by this objective
        other.register_forward_hook(lambda module, args, output: {
            key: value * 0 if 'loss' in key else value for key, value in output.items()})
    before = {name: value.clone() for name, value in model.named_parameters()}
    step(model, batch(), lr=1.0)
    moved = {name for name, value in model.named_parameters() if not torch.equal(before[name], value)}
    assert {name for name in before if name.startswith('objectives.2.rebuilder.')} <= moved
    for part in ('student.backbone.layers.0', 'student.backbone.layers.3', 'student.decode_head.conv_seg'):
        assert any(name.startswith(part) for name in moved), part
    assert not any(name.startswith('teacher.') for name in moved)


def test_share_and_keys_of_hidden_cells(segmentor, batch):
    model = build(segmentor(), SOURCE, MIX, dict(REBUILT, cell=4))
    step(model, batch())
    visible = model.seen['calls'][0][1]
    assert visible.shape == (2, 1, 16, 16) and float(1 - visible.mean()) == pytest.approx(0.4, abs=0.08)
    assert not torch.equal(visible[0], visible[1])
    again = build(segmentor(), SOURCE, MIX, dict(type='MaskedConsistency', block=16, threshold=0.06), dict(REBUILT, cell=4))
    step(again, batch())
    assert torch.equal(again.seen['calls'][0][1], visible)  # a further objective does not move the draws
    step(model, batch())
    assert not torch.equal(model.seen['calls'][0][1], visible)  # the next iteration has others


@pytest.mark.parametrize('ratio, same', [(0.0, True), (1.0, False)])
def test_nothing_hidden_is_the_loss_of_the_features_as_they_are(segmentor, batch, ratio, same):
    model = build(segmentor(), SOURCE, MIX, dict(REBUILT, ratio=ratio))
    step(model, batch())
    levels, _ = model.seen['calls'][0]
    rebuilt = model.seen['features'][0].levels
    assert all(torch.equal(one, other) == same for one, other in zip(levels, rebuilt, strict=True))


def test_statistics_of_the_head_stay_and_those_of_the_encoder_see_clean_target_images(segmentor, batch):
    model = build(segmentor('deeplabv3plus'), SOURCE, MIX, REBUILT)
    norms = {}

    def keep(module, args):
        norms.update({name: value.clone() for name, value in model.student.state_dict().items() if 'running_mean' in name})

    model.objectives[-1].register_forward_pre_hook(keep)
    step(model, batch())
    for name, value in model.student.state_dict().items():
        if name in norms:
            assert torch.equal(value, norms[name]) == name.startswith('decode_head'), name


def test_both_scales_are_rebuilt_with_masks_of_their_own(hrda, batch):
    model = build(hrda, SOURCE, MIX, dict(REBUILT, cell=4))
    log = step(model, batch())
    (context, seen), (detail, others) = model.seen['calls']
    assert [level.shape for level in context] == [level.shape for level in detail]
    assert seen.shape == others.shape == (2, 1, 8, 8) and not torch.equal(seen, others)
    assert [view.box is None for view in model.seen['features']] == [True, False]
    assert float(log['rebuilt.decode.hr.loss_ce']) > 0


@pytest.mark.parametrize('name', ['segformer', 'deeplabv3plus', 'upernet', 'auxiliary', 'vit'])
def test_fits_every_segmentor(segmentor, batch, name):
    log = step(build(segmentor(name), SOURCE, MIX, REBUILT), batch())
    assert all(torch.isfinite(value) for value in log.values()) and float(log['rebuilt.decode.loss_ce']) > 0


def test_levels_that_are_not_named_stay(segmentor, batch):
    model = build(segmentor('auxiliary'), SOURCE, MIX, dict(REBUILT, levels=[3]))
    step(model, batch())
    assert len(model.seen['calls'][0][0]) == 1
    assert [shape for shape in (level.shape[1] for level in model.seen['features'][0].levels)] == [8, 16, 32, 64]


@pytest.mark.parametrize('change, message', [
    (dict(ratio=1.2), 'ratio=1.2'), (dict(weight=0), 'weight=0'), (dict(width=6), 'width=6'), (dict(levels=[4]), 'levels 0 to 3'),
    (dict(levels=[]), r'are \[\]')])
def test_wrong_values_are_named(segmentor, change, message):
    with pytest.raises(ValueError, match=message):
        build(segmentor(), SOURCE, MIX, dict(REBUILT, **change))


def test_images_smaller_than_a_cell_and_a_missing_teacher_are_named(segmentor, batch):
    with pytest.raises(ValueError, match='cells of 256 pixels.*lower cell'):
        step(build(segmentor(), SOURCE, MIX, dict(REBUILT, cell=256)), batch())
    with pytest.raises(ValueError, match=r"\['rebuilt'\] need a teacher"):
        build(segmentor(), SOURCE, REBUILT, teacher=None)


@pytest.mark.parametrize('two_scales', [False, True])
def test_export_leaves_the_rebuilder_behind_and_predicts_bitwise_the_same(segmentor, hrda, batch, two_scales):
    network = hrda if two_scales else segmentor()
    model = build(network, SOURCE, MIX, REBUILT)
    step(model, batch())
    exported = MODELS.build(plain_config(Config(dict(model=dict(type='ClassMixEMA', segmentor=network)))).model)
    state = select_network(model.state_dict(), 'student', 'a checkpoint')
    assert not any('rebuilder' in name for name in state)
    exported.load_state_dict(state, strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(exported.eval()(images), model.student.eval()(images))
