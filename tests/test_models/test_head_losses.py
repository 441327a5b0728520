"""Losses of every registered head: mmseg's own without weights, none at all with weights of 0, or a refusal."""
import copy

import pytest
import torch
from head_cases import (CASES, CE, CLASSES, IGNORE, SIZE, TRAIN_CFG, build, features, labels, mmseg_losses,
                        previous_logits)
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch.nn import functional as F

from mmseg_cicld.models.edge_labels import edges
from mmseg_cicld.models.head_checks import check_head
from mmseg_cicld.models.head_losses import head_losses, raw_logits


def run(name, head, weights_BHW=None, labels_BHW=None):
    torch.manual_seed(4)
    return head_losses(head, features(name), labels() if labels_BHW is None else labels_BHW, weights_BHW,
                       previous_logits(name), TRAIN_CFG)


def total(losses):
    return sum(value.sum() for key, value in losses.items() if 'loss' in key)


@pytest.mark.parametrize('name', CASES)
def test_without_weights_and_with_ones_the_losses_are_those_of_mmseg(name):
    head = build(name)
    check_head(head, 'model.segmentor.decode_head')
    labels_BHW = labels()
    expected = mmseg_losses(name, copy.deepcopy(head), labels_BHW, edges(labels_BHW, IGNORE))
    for weights_BHW in (None, torch.ones(2, SIZE, SIZE)):
        losses, logits_BCHW = run(name, copy.deepcopy(head), weights_BHW)
        assert list(losses) == list(expected)
        for key, value in losses.items():
            assert torch.equal(value, expected[key]), key
            assert value.isfinite().all()
        assert logits_BCHW.shape == (2, head.num_classes, SIZE, SIZE)
        assert logits_BCHW.requires_grad


@pytest.mark.parametrize('name', CASES)
def test_with_weights_of_zero_no_loss_and_no_gradient_is_left(name):
    head = build(name)
    losses, _ = run(name, head, torch.zeros(2, SIZE, SIZE))
    for key, value in losses.items():
        assert 'loss' not in key or value.abs().max() == 0, key
    total(losses).backward()
    gradients = [parameter.grad for parameter in head.parameters() if parameter.grad is not None]
    assert gradients
    assert all(not gradient.any() for gradient in gradients)


@pytest.mark.parametrize('name', CASES)
def test_half_the_weight_is_half_of_each_loss(name):
    head = build(name)
    whole, _ = run(name, copy.deepcopy(head))
    half, _ = run(name, copy.deepcopy(head), torch.full((2, SIZE, SIZE), 0.5))
    for key, value in whole.items():
        if 'loss' in key:
            # Constants against a division by zero are not halved.
            torch.testing.assert_close(half[key], value / 2, rtol=5e-3, atol=1e-6)
            assert value > 0, key


OWN_LOSSES = ('loss_bd', 'loss_se')  # of edges, which are made of labels, and of images
# Of hard pixels: scaled by the share of labelled pixels with a weight, since mmseg does not count ignored ones.
HARD_LOSSES = dict(DDRHead=('loss_context', 'loss_spatial'), PIDHead=('loss_sem_i', ))


@pytest.mark.parametrize('name', sorted(set(CASES) - {'STDCHead'}))
def test_pixels_of_weight_zero_are_like_pixels_to_ignore(name):
    head, labels_BHW, weights_BHW = build(name), labels(), torch.ones(2, SIZE, SIZE)
    weights_BHW[:, :, SIZE // 2:] = 0
    weighted, _ = run(name, copy.deepcopy(head), weights_BHW)
    ignored, _ = run(name, copy.deepcopy(head), labels_BHW=labels_BHW.where(weights_BHW > 0, IGNORE))
    shares = dict.fromkeys(HARD_LOSSES.get(name, ()), float((weights_BHW[labels_BHW != IGNORE] > 0).float().mean()))
    if name == 'PIDHead':  # its hard pixels are those at predicted edges
        shares['loss_sem_bd'] = share_at_predicted_edges(copy.deepcopy(head), labels_BHW, weights_BHW)
    for key, value in weighted.items():
        if 'loss' in key and key not in OWN_LOSSES:
            torch.testing.assert_close(value, shares.get(key, 1) * ignored[key], msg=key)


def share_at_predicted_edges(head, labels_BHW, weights_BHW):
    torch.manual_seed(4)
    edges_B1HW = F.interpolate(head(features('PIDHead'))[2], (SIZE, SIZE), mode='bilinear', align_corners=False)
    at_edges_BHW = (edges_B1HW[:, 0].sigmoid() > 0.8) & (labels_BHW != IGNORE)
    assert 0 < at_edges_BHW.sum() < at_edges_BHW.numel()
    return float((weights_BHW[at_edges_BHW] > 0).float().mean())


@pytest.mark.parametrize('name', ['FCNHead', 'DAHead', 'IterativeDecodeHead', 'OCRHead', 'EncHead'])
def test_weights_of_pixels_are_those_that_mmseg_takes_from_a_sampler(name):
    head, weights_BHW = build(name), torch.rand(2, SIZE, SIZE, generator=torch.Generator().manual_seed(5))
    losses, _ = run(name, copy.deepcopy(head), weights_BHW)
    reference = copy.deepcopy(head)
    classifier = reference.kernel_generate_head if name == 'IterativeDecodeHead' else reference
    classifier.sampler = type('Weights', (), dict(sample=staticmethod(lambda logits, label: weights_BHW)))()
    expected = mmseg_losses(name, reference, labels())
    for key, value in losses.items():
        assert key == 'loss_se' or torch.equal(value, expected[key]), key


def test_classes_of_an_image_are_those_of_weighted_pixels_and_count_by_its_mean_weight():
    head, labels_BHW, weights_BHW = build('EncHead'), labels(), torch.full((2, SIZE, SIZE), 0.5)
    weights_BHW[0, :, 8:] = 0
    torch.manual_seed(4)
    scores_BK = copy.deepcopy(head)(features('EncHead'))[1]
    present_BK = torch.tensor([[float((label_HW[weight_HW > 0] == k).any()) for k in range(CLASSES)]
                               for label_HW, weight_HW in zip(labels_BHW, weights_BHW)])
    assert 0 < present_BK[0].sum() < CLASSES
    cost_BK = F.binary_cross_entropy_with_logits(scores_BK, present_BK, reduction='none')
    expected = 0.2 * (cost_BK * torch.tensor([[0.5 / 4], [0.5]])).mean()
    losses, _ = run('EncHead', head, weights_BHW)
    torch.testing.assert_close(losses['loss_se'], expected)


def test_encoding_head_without_a_loss_of_classes_trains():
    losses, _ = run('EncHead', build('EncHead', use_se_loss=False))
    assert set(losses) == {'loss_ce', 'acc_seg'}


def test_edges_that_pidnet_learns_count_by_weight():
    head, labels_BHW, weights_BHW = build('PIDHead'), labels(), torch.ones(2, SIZE, SIZE)
    weights_BHW[1] = 0
    losses, _ = run('PIDHead', copy.deepcopy(head), weights_BHW)
    torch.manual_seed(4)
    logits_1HW = F.interpolate(head(features('PIDHead'))[2], (SIZE, SIZE), mode='bilinear')[:1, 0]
    edge_1HW = edges(labels_BHW, IGNORE)[:1].float()
    cost_1HW = F.binary_cross_entropy_with_logits(logits_1HW, edge_1HW, reduction='none')
    share = edge_1HW.mean()
    expected = 20 * (cost_1HW * torch.where(edge_1HW == 1, 1 - share, share)).sum() / labels_BHW.numel()
    torch.testing.assert_close(losses['loss_bd'], expected)


# The backbones of these give several features in training and one in evaluation.
@pytest.mark.parametrize('name', sorted(set(CASES) - {'PointHead', 'DDRHead', 'PIDHead'}))
def test_logits_are_those_that_the_head_predicts_with(name):
    head, before = build(name).eval(), previous_logits(name)
    meta = [dict(img_shape=torch.Size((SIZE, SIZE)))] * 2
    torch.manual_seed(4)
    expected = head.predict(features(name), *(() if before is None else (before, )), meta, None)
    torch.manual_seed(4)
    raw = raw_logits(head, features(name), before)
    assert torch.equal(F.interpolate(raw, (SIZE, SIZE), mode='bilinear', align_corners=head.align_corners), expected)


@pytest.mark.parametrize(('name', 'branch', 'feature'), [('DDRHead', 'head', 1), ('PIDHead', 'i_head', 1)])
def test_in_training_logits_are_of_the_branch_that_predicts(name, branch, feature):
    head = build(name, dropout_ratio=0)
    expected = head.cls_seg(getattr(copy.deepcopy(head), branch)(features(name)[feature], *(
        [None] if name == 'PIDHead' else [])))
    assert torch.equal(raw_logits(copy.deepcopy(head), features(name)), expected)


def test_in_training_logits_of_iterations_are_those_of_the_last():
    head = build('IterativeDecodeHead')
    torch.manual_seed(4)
    stages = copy.deepcopy(head)(features('IterativeDecodeHead'))
    torch.manual_seed(4)
    assert torch.equal(raw_logits(head, features('IterativeDecodeHead')), stages[-1])
    assert not torch.equal(stages[0], stages[-1])


def test_in_evaluation_pidnet_has_one_feature():
    head, feature = build('PIDHead').eval(), features('PIDHead')[1]
    assert torch.equal(raw_logits(head, feature), head.i_head(feature, head.cls_seg))


@pytest.mark.parametrize(('name', 'changes'), [
    ('FCNHead', dict(align_corners=True)), ('PointHead', dict(align_corners=True)),
    ('FCNHead', dict(loss_decode=[CE, dict(CE, loss_weight=.5)])),
    ('FCNHead', dict(loss_decode=[CE, dict(type='LovaszLoss', reduction='none')]))])
def test_settings_of_a_head_are_kept_to(name, changes):
    head = build(name, **changes)
    labels_BHW = torch.randint(0, CLASSES, (2, SIZE, SIZE), generator=torch.Generator().manual_seed(6))
    expected = mmseg_losses(name, copy.deepcopy(head), labels_BHW)
    losses, _ = run(name, head, labels_BHW=labels_BHW)
    assert list(losses) == list(expected)
    assert all(torch.equal(losses[key], expected[key]) for key in expected)


@pytest.mark.parametrize('name', sorted(CASES))
def test_losses_come_with_the_logits_of_their_own_pass(name):
    head = build(name)
    _, logits_BCHW = run(name, copy.deepcopy(head))
    torch.manual_seed(4)
    raw = raw_logits(head, features(name), previous_logits(name))
    resized = F.interpolate(raw, (SIZE, SIZE), mode='bilinear', align_corners=head.align_corners)
    assert torch.equal(logits_BCHW, resized)


def test_logits_of_points_are_those_of_the_head_before():
    _, logits_BCHW = run('PointHead', build('PointHead'))
    before = previous_logits('PointHead')
    expected = F.interpolate(before, (SIZE, SIZE), mode='bilinear', align_corners=False)
    assert torch.equal(logits_BCHW, expected)


def test_every_registered_head_is_run_or_refused():
    own = {'HRDAHead', 'LatentDiffusionHead'}  # carry their losses themselves
    registered = {name for name, kind in MODELS.module_dict.items()
                  if isinstance(kind, type) and issubclass(kind, BaseDecodeHead)}
    assert registered - set(CASES) - own == {'SideAdapterCLIPHead', 'VPDDepthHead'}
