"""Balanced learning: the losses that see corrected logits, whose pixels move which distributions, and what stays as it is."""
import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS

from mmseg_cicld.engine.exporting import plain_config, select_network

SOURCE = dict(type='SourceSupervision')
MIX = dict(type='ClassMixSelfTraining', threshold=0.06, ignore_top=8)
MASKED = dict(type='MaskedConsistency', block=16, threshold=0.06)
BALANCED = dict(type='BalancedLogits', min_pixels=50, strength=0.5)


def build(segmentor: dict, *objectives: dict, **kwargs):
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(type='ClassMixEMA', segmentor=copy.deepcopy(segmentor),
                                   objectives=copy.deepcopy(list(objectives)),
                                   **{'teacher': dict(momentum=0.9), **kwargs})).train()


def step(model, data: dict, lr: float = 1e-2) -> dict:
    """One step; ``model.corrected`` keeps, for each domain, context, batch, logits and their correction."""
    model.corrected, balanced = {}, model.objectives[-1]
    correct = balanced.correct

    def record(images, context, batch, logits):
        corrected = correct(images, context, batch, logits)
        model.corrected[images] = context, batch, logits, corrected
        return corrected

    balanced.correct = record
    parameters = [p for p in model.parameters() if p.requires_grad]
    log = model.train_step(data, OptimWrapper(torch.optim.SGD(parameters, lr=lr)))
    del balanced.correct
    return log


def test_losses_are_cross_entropy_of_corrected_logits(segmentor, batch):
    model = build(segmentor(), SOURCE, MIX, MASKED, BALANCED)
    for _ in range(2):
        log = step(model, batch())
    for images, name in (('source', 'source'), ('mixed', 'mix')):
        _, given, logits, corrected = model.corrected[images]
        assert not torch.equal(logits, corrected)
        pixels = F.cross_entropy(corrected, given.labels_BHW, ignore_index=255, reduction='none')
        weights = 1 if given.weights_BHW is None else given.weights_BHW
        assert float(log[f'{name}.decode.loss_ce']) == pytest.approx(float((weights * pixels).mean()), rel=1e-5)
    assert set(model.corrected) == {'source', 'mixed'}  # masked images are left as they are


def test_correction_is_minus_strength_times_shift_of_each_domain(segmentor, batch):
    model = build(segmentor(), SOURCE, MIX, BALANCED)
    step(model, batch())
    balance, (context, given, logits, corrected) = model.objectives[-1].balance, model.corrected['mixed']
    sets = torch.where(context.mix_mask(), 0, 1)
    assert 0 < float(sets.float().mean()) < 1
    shift = balance.shift(sets, logits.detach(), given.labels_BHW)  # nothing moved since
    assert shift.abs().max() > 0
    torch.testing.assert_close(corrected, logits - 0.5 * shift)
    assert corrected.requires_grad


def test_gradient_is_that_of_the_corrected_loss_with_a_constant_shift(segmentor, batch):
    model = build(segmentor(), SOURCE, MIX, BALANCED)
    step(model, batch())
    context, given, logits, _ = model.corrected['source']
    leaf = logits.detach().clone().requires_grad_()
    corrected = model.objectives[-1].correct('source', context, given, leaf)
    F.cross_entropy(corrected, given.labels_BHW, ignore_index=255).backward()
    probabilities = corrected.detach().softmax(1)
    probabilities.scatter_add_(1, given.labels_BHW[:, None], -torch.ones_like(given.labels_BHW[:, None]).float())
    torch.testing.assert_close(leaf.grad, probabilities / given.labels_BHW.numel())


def test_pixels_of_each_domain_move_its_distributions(segmentor, batch):
    model = build(segmentor(), SOURCE, MIX, BALANCED)
    step(model, batch())
    balance = model.objectives[-1].balance
    context, given, logits, _ = model.corrected['source']
    anchor = balance.anchors
    own = logits.detach().gather(1, given.labels_BHW[:, None])
    assert float((anchor.weights[0] * anchor.means[0]).sum()) == pytest.approx(float(own.mean()), rel=1e-4)
    context, given, logits, _ = model.corrected['mixed']
    target = ~context.mix_mask() & (given.weights_BHW > 0)
    assert not target[:, :8].any()  # the margin has no pseudo-labels
    moved = 0
    for number, member in ((0, None), (1, target)):
        labels, scores = given.labels_BHW, logits.detach()
        if member is None:
            _, source, scores, _ = model.corrected['source']
            labels, scores, member = source.labels_BHW, scores.detach(), torch.ones_like(source.labels_BHW, dtype=torch.bool)
        for label in range(19):
            pixels = member & (labels == label)
            assert balance.pairs[number].seen[label].tolist() == [int(pixels.sum()) >= 50] * 19
            if pixels.sum() >= 50:
                moved += 1
                found = (balance.pairs[number].weights[label] * balance.pairs[number].means[label]).sum(-1)
                torch.testing.assert_close(found.float(), scores.movedim(1, -1)[pixels].mean(0), rtol=1e-3, atol=1e-4)
    assert moved > 5


def test_ignored_pixels_are_of_no_class(segmentor, batch):
    data = batch()
    for sample in data['source']['data_samples']:
        sample.gt_sem_seg.data[:, :32] = 255
    model = build(segmentor(), SOURCE, MIX, BALANCED)
    step(model, data)
    _, given, logits, corrected = model.corrected['source']
    ignored = (given.labels_BHW == 255)[:, None].expand_as(logits)
    assert torch.equal(corrected[ignored], logits[ignored]) and not torch.equal(corrected[~ignored], logits[~ignored])
    own = logits.detach().gather(1, given.labels_BHW.clamp(max=18)[:, None])[:, 0][given.labels_BHW != 255]
    anchors = model.objectives[-1].balance.anchors
    assert float((anchors.weights[0] * anchors.means[0]).sum()) == pytest.approx(float(own.mean()), rel=1e-4)


def test_a_grid_of_pixels_is_enough(segmentor, batch):
    model = build(segmentor(), SOURCE, MIX, dict(BALANCED, samples=1024))
    seen = []
    observe = model.objectives[-1].balance.observe
    model.objectives[-1].balance.observe = lambda *args, **kwargs: seen.append(args) or observe(*args, **kwargs)
    step(model, batch())
    assert [(len(logits), each) for _, logits, _, each in seen] == [(2 * 1024, 4)] * 2
    _, given, logits, _ = model.corrected['source']
    first = seen[0][1][:1024].T.reshape(19, 32, 32)
    assert any(torch.equal(first, logits.detach()[0, :, y::2, x::2]) for y in (0, 1) for x in (0, 1))


def test_it_has_neither_losses_nor_parameters_and_its_state_is_in_the_checkpoint(segmentor, batch):
    model = build(segmentor(), SOURCE, MIX, BALANCED)
    log = step(model, batch())
    assert not any('balanced' in key for key in log) and not list(model.objectives[-1].parameters())
    state = copy.deepcopy(model.state_dict())
    again = build(segmentor(), SOURCE, MIX, BALANCED)
    again.load_state_dict(state)
    for one, other in zip(model.objectives[-1].buffers(), again.objectives[-1].buffers(), strict=True):
        assert torch.equal(one, other)
    assert int(state['objectives.2.balance.pairs.1.steps']) == 1


def test_half_precision_moves_them_in_full(segmentor, batch):
    from mmseg_cicld.engine import AutocastOptimWrapper
    model = build(segmentor(), SOURCE, MIX, BALANCED)
    model.train_step(batch(), AutocastOptimWrapper(torch.optim.SGD(model.student.parameters(), lr=0.)))
    full = build(segmentor(), SOURCE, MIX, BALANCED)
    full.train_step(batch(), OptimWrapper(torch.optim.SGD(full.student.parameters(), lr=0.)))
    anchors, expected = model.objectives[-1].balance.anchors, full.objectives[-1].balance.anchors
    assert anchors.means.dtype == torch.float64 and torch.isfinite(anchors.means).all()
    torch.testing.assert_close((anchors.weights * anchors.means).sum(-1), (expected.weights * expected.means).sum(-1),
                               rtol=0.05, atol=0.02)


def test_with_two_scales_the_fused_prediction_is_corrected(hrda, batch):
    model, plain = build(hrda, SOURCE, MIX, BALANCED), build(hrda, SOURCE, MIX)
    log = step(model, batch())
    other = plain.train_step(batch(), OptimWrapper(torch.optim.SGD(plain.student.parameters(), lr=0.01)))
    assert model.corrected['source'][2].shape == (2, 19, 64, 64)
    assert float(log['source.decode.loss_ce']) != float(other['source.decode.loss_ce'])
    assert float(log['source.decode.hr.loss_ce']) == float(other['source.decode.hr.loss_ce'])


@pytest.mark.parametrize('change, message', [
    (dict(strength=0), 'strength=0'), (dict(tail=0.5), 'tail=0.5'), (dict(momentum=1.0), 'momentum=1.0'),
    (dict(components=0), 'components=0'), (dict(samples=0), 'samples=0')])
def test_wrong_values_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(BALANCED, **change))


def test_what_contradicts_it_is_named(segmentor):
    with pytest.raises(ValueError, match="corrects the logits of the mixed images of 'mix'.*no objective of that name"):
        build(segmentor(), SOURCE, BALANCED)
    with pytest.raises(ValueError, match="'mix' comes later"):
        build(segmentor(), SOURCE, BALANCED, MIX)
    with pytest.raises(ValueError, match=r"correct the logits of \['source', 'mix'\]: keep one"):
        build(segmentor(), SOURCE, MIX, BALANCED, dict(BALANCED, name='again'))
    with pytest.raises(ValueError, match='the head has one channel'):
        build(segmentor(num_classes=2, out_channels=1, threshold=0.5,
                        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True)), SOURCE, MIX, BALANCED)


def test_a_segmentor_whose_losses_cannot_be_adjusted_is_refused(segmentor):
    config = segmentor('auxiliary')
    config['decode_head']['init_cfg'] = None
    points = dict(type='PointHead', in_channels=[64], in_index=[3], channels=16, num_classes=19, num_fcs=1, dropout_ratio=-1,
                  coarse_pred_each_layer=True, loss_decode=dict(type='CrossEntropyLoss'))
    config.update(type='CascadeEncoderDecoder', num_stages=2, decode_head=[config['decode_head'], points],
                  train_cfg=dict(num_points=16, oversample_ratio=3, importance_sample_ratio=0.75))
    with pytest.raises(TypeError, match=r"\['balanced'\] correct the logits.*CascadeEncoderDecoder with PointHead"):
        build(config, SOURCE, MIX, BALANCED)


def test_export_predicts_bitwise_the_same(segmentor, batch):
    model = build(segmentor(), SOURCE, MIX, BALANCED)
    step(model, batch())
    exported = MODELS.build(plain_config(Config(dict(model=dict(type='ClassMixEMA', segmentor=segmentor())))).model)
    state = select_network(model.state_dict(), 'student', 'a checkpoint')
    assert not any('balance' in name for name in state)
    exported.load_state_dict(state, strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(exported.eval()(images), model.student.eval()(images))
