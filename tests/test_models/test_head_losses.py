"""Losses of every registered head: mmseg's own without weights, none at all with weights of 0, or a refusal."""
import copy

import pytest
import torch
from head_cases import (CASES, CE, CLASSES, IGNORE, SIZE, TRAIN_CFG, build, features, labels, mmseg_losses,
                        previous_logits)
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS

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
