"""Heads and losses that pixel weights cannot reach are refused when they are built, by name and with what works."""
import re

import pytest
import torch
from head_cases import BN, CE, LAST, build
from mmseg.registry import MODELS
from torch import nn
from torch.nn import functional as F

from mmseg_cicld.models.head_checks import check_head

KEY = 'model.segmentor.decode_head'
BINARY = dict(num_classes=2, out_channels=1, threshold=.4)
SIGMOID = dict(CE, use_sigmoid=True)
LOVASZ = dict(type='LovaszLoss', reduction='none')


def refusal(head, key=KEY):
    with pytest.raises((TypeError, ValueError)) as caught:
        check_head(head, key)
    message = str(caught.value)
    assert message.startswith(KEY)
    assert '\n' not in message
    return message


@pytest.mark.parametrize(('config', 'words'), [
    (dict(type='HuasdorffDisstanceLoss'), 'HuasdorffDisstanceLoss.* with all weights 0 it is .* DiceLoss, FocalLoss'),
    (dict(type='SiLogLoss'), 'SiLogLoss.* CrossEntropyLoss, DiceLoss'),
    (dict(type='BoundaryLoss'), 'BoundaryLoss.* logits of 4 channels'),
    (dict(LOVASZ, loss_type='binary'), 'LovaszLoss.* does not prefer the right classes'),
    (dict(CE, use_mask=True), 'CrossEntropyLoss.* losses that work here'),
    (dict(CE, class_weight=[1., 2.]), r'loss_decode\.class_weight has 2 numbers, .* 4 channels'),
    (dict(SIGMOID, class_weight=[1.] * 4), r'loss_decode\.class_weight is set with use_sigmoid=True'),
    (dict(type='TverskyLoss', ignore_index=254), r'loss_decode\.ignore_index is 254, .* ignores 255'),
    (dict(type='OhemCrossEntropy', ignore_label=254), r'loss_decode\.ignore_label is 254, .* ignores 255'),
    ([CE, dict(type='SiLogLoss')], r'loss_decode\[1\] is SiLogLoss'),
])
def test_a_loss_is_refused(config, words):
    message = refusal(build('FCNHead', loss_decode=config))
    assert re.search(words, message), message


@pytest.mark.parametrize('config', [
    SIGMOID, dict(type='FocalLoss'), dict(LOVASZ, loss_type='binary'), dict(type='BoundaryLoss'),
    [SIGMOID, dict(type='FocalLoss')]])
def test_losses_of_a_binary_head_that_work(config):
    assert check_head(build('FCNHead', loss_decode=config, **BINARY), KEY) is None


@pytest.mark.parametrize('config', [CE, LOVASZ, dict(type='DiceLoss'), dict(type='TverskyLoss'),
                                    dict(type='OhemCrossEntropy'), dict(type='HuasdorffDisstanceLoss')])
def test_losses_of_many_classes_are_refused_for_one_channel(config):
    message = refusal(build('FCNHead', loss_decode=config, **BINARY))
    assert config['type'] in message
    assert 'CrossEntropyLoss with use_sigmoid=True' in message


def test_dice_does_not_know_what_a_head_ignores():
    assert 'DiceLoss' in refusal(build('FCNHead', loss_decode=dict(type='DiceLoss'), ignore_index=0))
    assert check_head(build('FCNHead', loss_decode=dict(type='DiceLoss'), ignore_index=254), KEY) is None


class HalfBlind(nn.Module):
    """Takes weights as mmseg asks and forgets them."""

    loss_name, loss_weight = 'loss_own', 1.

    def forward(self, logits, labels, weight=None, ignore_index=255):
        return F.cross_entropy(logits, labels, ignore_index=ignore_index)


class Seeing(HalfBlind):
    """Honours them."""

    def forward(self, logits, labels, weight=None, ignore_index=255):
        return (weight * F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction='none')).mean()


class Leaking(Seeing):
    """Is 0 with weights of 0, and still moves the network."""

    def forward(self, logits, labels, weight=None, ignore_index=255):
        return super().forward(logits, labels, weight, ignore_index) + (logits - logits.detach()).sum()


class Spread(Seeing):
    """Multiplies columns of the image with what is meant for the four classes."""

    def forward(self, logits, labels, weight=None, ignore_index=255):
        return super().forward(logits, labels, weight * torch.ones(4), ignore_index)


def test_a_loss_of_another_package_is_tried():
    head = build('FCNHead')
    for kind in (HalfBlind, Leaking, Spread):
        head.loss_decode = kind()
        assert kind.__name__ in refusal(head)
    head.loss_decode = Seeing()
    assert check_head(head, KEY) is None


def test_a_loss_that_is_switched_off_is_none_of_our_business():
    assert check_head(build('FCNHead', loss_decode=dict(CE, loss_weight=0.)), KEY) is None


@pytest.mark.parametrize(('name', 'changes', 'words'), [
    ('FCNHead', dict(sampler=dict(type='OHEMPixelSampler')), ('sampler is OHEMPixelSampler', 'OhemCrossEntropy')),
    ('FCNHead', dict(ignore_index=None), ('ignore_index is None', '255')),
    ('FCNHead', dict(num_classes=1), ('num_classes is 1', 'num_classes=2')),
    ('DAHead', dict(loss_decode=SIGMOID, **BINARY), ('out_channels is 1', 'DAHead')),
    ('SegmenterMaskTransformerHead', dict(loss_decode=SIGMOID, **BINARY), ('out_channels is 1', )),
    ('PointHead', dict(loss_decode=SIGMOID, **BINARY), ('out_channels is 1', )),
    ('DDRHead', dict(loss_decode=CE), ('has 1 loss,', 'list of 2')),
    ('PIDHead', dict(loss_decode=[CE, CE]), ('has 2 losses', 'list of 4')),
    ('EncHead', dict(loss_se_decode=dict(type='DiceLoss')), ('loss_se_decode is DiceLoss', 'use_sigmoid=True')),
    ('IterativeDecodeHead', dict(kernel_generate_head=dict(
        type='FCNHead', num_convs=1, channels=8, num_classes=4, norm_cfg=BN, loss_decode=dict(type='SiLogLoss'),
        **LAST)), ('kernel_generate_head.loss_decode is SiLogLoss', )),
    ('IterativeDecodeHead', dict(kernel_generate_head=dict(
        type='FCNHead', num_convs=1, channels=8, norm_cfg=BN, loss_decode=SIGMOID, **BINARY, **LAST)),
     ('kernel_generate_head.out_channels is 1', )),
])
def test_a_setting_is_refused(name, changes, words):
    message = refusal(build(name, **changes))
    assert all(word in message for word in words), message


def test_heads_that_classify_no_pixels_are_refused():
    depth = MODELS.build(dict(type='VPDDepthHead', in_channels=[16] * 4, embed_dim=4, feature_dim=32,
                              num_deconv_filters=(4, 4, 4)))
    assert 'VPDDepthHead' in refusal(depth)
    assert 'Linear' in refusal(nn.Linear(2, 2))


def test_a_head_with_losses_of_its_own_is_refused():
    head = build('FCNHead')
    head.__class__ = type('OwnHead', (type(head), ), dict(loss_by_feat=lambda self, logits, samples: {}))
    assert 'OwnHead' in refusal(head)
    head.__class__ = type('QuietHead', (type(build('FCNHead')), ), {})
    assert check_head(head, KEY) is None


def test_trying_a_loss_leaves_random_streams_alone():
    head = build('FCNHead', loss_decode=[CE, dict(type='DiceLoss'), LOVASZ])
    state = torch.get_rng_state()
    check_head(head, KEY)
    assert torch.equal(state, torch.get_rng_state())
