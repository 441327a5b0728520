"""What logits mean: labels as mmseg's own predictions, confidence, entropy, for softmax and for one sigmoid."""
import math

import numpy as np
import pytest
import torch
from head_cases import CE, CLASSES, SIZE, build
from mmengine.config import ConfigDict
from mmseg.registry import MODELS, TRANSFORMS
from PIL import Image
from torch.nn import functional as F

from mmseg_cicld.models.head_losses import head_losses
from mmseg_cicld.models.label_rule import LabelRule

BINARY = dict(num_classes=2, out_channels=1, loss_decode=dict(CE, use_sigmoid=True))


def logits(channels, dtype=torch.float32):
    return 3 * torch.randn(2, channels, 6, 9, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize(('name', 'changes', 'rule'), [
    ('FCNHead', {}, LabelRule(4, 255, None)),
    ('FCNHead', dict(ignore_index=254, threshold=.5), LabelRule(4, 254, None)),  # mmseg reads it with one channel only
    ('FCNHead', dict(BINARY, threshold=.6), LabelRule(2, 255, .6)),
    ('FCNHead', BINARY, LabelRule(2, 255, .3)),
    ('IterativeDecodeHead', {}, LabelRule(4, 255, None)),
    ('PointHead', {}, LabelRule(4, 255, None)),
])
def test_the_rule_is_read_from_the_head(name, changes, rule):
    assert LabelRule.of_head(build(name, **changes)) == rule


@pytest.mark.parametrize('threshold', [.2, .3, .5, .8])
def test_labels_of_a_binary_head_are_those_that_mmseg_predicts(threshold):
    preprocessor = dict(type='SegDataPreProcessor')
    decode = dict(type='FCNHead', in_channels=4, channels=4, num_convs=1, threshold=threshold, **BINARY)
    backbone = dict(type='ResNetV1c', depth=18, base_channels=4, stem_channels=4)
    model = MODELS.build(ConfigDict(type='EncoderDecoder', backbone=backbone, decode_head=dict(decode, in_index=0),
                                    data_preprocessor=preprocessor, train_cfg=dict(), test_cfg=dict(mode='whole')))
    logits_B1HW = logits(1)
    predicted = [sample.pred_sem_seg.data[0] for sample in model.postprocess_result(logits_B1HW)]
    labels_BHW, _ = LabelRule.of_head(model.decode_head).labels_and_confidence(logits_B1HW)
    assert torch.equal(labels_BHW, torch.stack(predicted).long())
    assert set(labels_BHW.unique().tolist()) == {0, 1}


def test_confidence_of_a_binary_head_is_the_probability_of_its_label():
    probability = torch.tensor([.1, .29, .31, .45, .55, .9])
    rule = LabelRule(2, threshold=.3)
    labels_BHW, confidence_BHW = rule.labels_and_confidence(torch.logit(probability).view(1, 1, 1, 6))
    assert labels_BHW.flatten().tolist() == [0, 0, 1, 1, 1, 1]
    torch.testing.assert_close(confidence_BHW.flatten(), torch.tensor([.9, .71, .31, .45, .55, .9]))


def test_labels_and_confidence_of_many_classes_are_those_of_softmax():
    logits_BCHW = logits(CLASSES)
    labels_BHW, confidence_BHW = LabelRule(CLASSES).labels_and_confidence(logits_BCHW)
    expected = logits_BCHW.softmax(dim=1).max(dim=1)
    assert torch.equal(labels_BHW, expected.indices)
    assert torch.equal(confidence_BHW, expected.values)


def test_one_sigmoid_is_the_softmax_of_two_classes():
    logits_B1HW = logits(1, torch.float64)
    pair_BCHW = torch.cat([torch.zeros_like(logits_B1HW), logits_B1HW], dim=1)
    binary, softmax = LabelRule(2, threshold=.5), LabelRule(2)
    for method in ('probabilities', 'log_probabilities', 'normalised_entropy'):
        torch.testing.assert_close(getattr(binary, method)(logits_B1HW), getattr(softmax, method)(pair_BCHW))
    for found, expected in zip(binary.labels_and_confidence(logits_B1HW), softmax.labels_and_confidence(pair_BCHW)):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(('channels', 'rule'), [(CLASSES, LabelRule(CLASSES)), (1, LabelRule(2, threshold=.3))])
def test_entropy_is_one_at_most_and_has_gradient(channels, rule):
    assert rule.normalised_entropy(torch.zeros(1, channels, 2, 2)).mean() == pytest.approx(1)
    sure = torch.zeros(1, channels, 2, 2)
    sure[:, -1] = 200
    assert rule.normalised_entropy(sure).mean() == 0
    logits_BCHW = logits(channels).requires_grad_()
    probabilities = rule.probabilities(logits_BCHW)
    assert probabilities.shape[1] == rule.num_classes
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 6, 9))
    expected = -(probabilities * probabilities.log()).sum(1).mean() / math.log(rule.num_classes)
    found = rule.normalised_entropy(logits_BCHW).mean()
    torch.testing.assert_close(found, expected)
    assert torch.autograd.grad(found, logits_BCHW)[0].abs().max() > 0


def test_accuracy_of_a_binary_head_follows_its_threshold():
    head = build('FCNHead', threshold=.3, **BINARY)
    head.conv_seg.weight.data.zero_()
    head.conv_seg.bias.data.fill_(torch.logit(torch.tensor(.4)))
    inputs = tuple(torch.randn(2, channels, 4, 4) for channels in (4, 6, 8, 8))
    truth_BHW = torch.ones(2, SIZE, SIZE, dtype=torch.int64)
    truth_BHW[:, 0] = 255
    losses, logits_B1HW = head_losses(head, inputs, truth_BHW)
    assert float(losses['acc_seg']) == pytest.approx(100)
    assert logits_B1HW.shape == (2, 1, SIZE, SIZE)
    losses, _ = head_losses(head, inputs, 1 - truth_BHW.clamp(max=1))
    assert float(losses['acc_seg']) == pytest.approx(0, abs=1e-3)


def test_zero_labels_are_reduced_where_they_are_loaded_and_nowhere_else(tmp_path):
    stored = np.array([[0, 1, 2], [3, 4, 255]], dtype=np.uint8)
    Image.fromarray(stored).save(tmp_path / 'label.png')
    load = TRANSFORMS.build(dict(type='LoadAnnotations'))
    loaded = load(dict(seg_map_path=str(tmp_path / 'label.png'), seg_fields=[], reduce_zero_label=True))
    labels_BHW = torch.from_numpy(loaded['gt_seg_map'].astype(np.int64))[None]
    assert labels_BHW.tolist() == [[[255, 0, 1], [2, 3, 255]]]
    rule = LabelRule.of_head(build('FCNHead'))
    sure_BCHW = 9. * F.one_hot(labels_BHW.clamp(max=CLASSES), CLASSES + 1)[..., :CLASSES].permute(0, 3, 1, 2)
    counted_BHW = labels_BHW != rule.ignore_index
    predicted_BHW, _ = rule.labels_and_confidence(sure_BCHW)
    assert torch.equal(predicted_BHW[counted_BHW], labels_BHW[counted_BHW])
