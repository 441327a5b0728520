"""Losses of mmseg 0.x: the migrated loss computes what the old formula gives, or the config is refused by name."""
from pathlib import Path

import old_configs as old
import pytest
import torch
from migration_helpers import migrated, unmapped
from mmseg.registry import MODELS
from torch.nn import functional

pytestmark = pytest.mark.usefixtures('mmseg_scope')

CLASSES = 19
PLACE = 'model.decode_head.loss_decode'


def config_with(folder: Path, loss: str) -> Path:
    return old.write_old(folder, 'old', 'gta_cityscapes_512', uda='dacs',
                         body=f'model = dict(decode_head=dict(loss_decode={loss}))\n')


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (2, 8, 8), generator=generator)
    labels[0, :3] = 255
    return torch.randn(2, CLASSES, 8, 8, generator=generator), labels


def old_cross_entropy(logits_BCHW, labels_BHW, class_weight, loss_weight) -> torch.Tensor:
    """mmseg 0.16 to 0.30, cross_entropy: weighted, then the mean over all pixels, ignored ones with 0."""
    weight = None if class_weight is None else torch.tensor(class_weight)
    return loss_weight * functional.cross_entropy(logits_BCHW, labels_BHW, weight, ignore_index=255,
                                                  reduction='none').mean()


@pytest.mark.parametrize(('class_weight', 'loss_weight'), [
    (None, 1.0), ([1.0] * CLASSES, 0.4), ([2.5] * CLASSES, 1.0), ([0.5] * CLASSES, 2.0)])
def test_one_class_weight_for_all_becomes_the_weight_of_the_loss(class_weight, loss_weight, tmp_path):
    config = migrated(config_with(tmp_path, f"dict(class_weight={class_weight}, loss_weight={loss_weight})"))
    new = config.model.segmentor.decode_head.loss_decode
    assert 'class_weight' not in new
    logits, labels = batch()
    torch.testing.assert_close(MODELS.build(new)(logits, labels, ignore_index=255),
                               old_cross_entropy(logits, labels, class_weight, loss_weight))


def test_class_weights_that_differ_are_another_loss_and_refused(tmp_path):
    weights = [1.0 + 0.1 * index for index in range(CLASSES)]
    logits, labels = batch()
    new = MODELS.build(dict(type='CrossEntropyLoss', class_weight=weights))
    with pytest.raises(IndexError):  # the reason for refusing: ignored pixels stop the new one,
        new(logits, labels, ignore_index=255)
    labels = labels.clamp(max=CLASSES - 1)  # and without them it divides by something else
    assert not torch.isclose(new(logits, labels), old_cross_entropy(logits, labels, weights, 1.0), rtol=0.05)
    found = unmapped(config_with(tmp_path, f'dict(class_weight={weights})'))
    assert found.keys() == {f'{PLACE}.class_weight'} and 'number of pixels' in found[f'{PLACE}.class_weight']


@pytest.mark.parametrize('weights', ["'weights.npy'", '[]', '3', '[1.0, None]', '{}'])
def test_class_weights_of_any_other_kind_are_refused(weights, tmp_path):
    assert set(unmapped(config_with(tmp_path, f'dict(class_weight={weights})'))) == {f'{PLACE}.class_weight'}


def test_class_weights_of_a_sigmoid_stay(tmp_path):
    weights = [1.0 + 0.1 * index for index in range(CLASSES)]
    found = migrated(config_with(tmp_path, f'dict(use_sigmoid=True, class_weight={weights})'))
    assert found.model.segmentor.decode_head.loss_decode.class_weight == weights


def old_dice(logits_BCHW, labels_BHW) -> torch.Tensor:
    """mmseg 0.x, dice_loss: class by class, smooth 1, squares, the mask in the numerator only."""
    probabilities = logits_BCHW.softmax(1)
    onehot = functional.one_hot(labels_BHW.clamp(max=CLASSES - 1), CLASSES).permute(0, 3, 1, 2)
    valid = (labels_BHW != 255)[:, None]
    above = 2 * (probabilities * onehot * valid).flatten(2).sum(2) + 1
    return (1 - above / ((probabilities ** 2 + onehot ** 2).flatten(2).sum(2) + 1)).mean()


@pytest.mark.parametrize('loss', ['type="DiceLoss"', 'type="DiceLoss", loss_name="loss_dice", loss_weight=3.0'])
def test_dice_is_another_formula_and_refused(loss, tmp_path):
    logits, labels = batch()
    for options in (dict(), dict(use_sigmoid=False), dict(use_sigmoid=False, naive_dice=True, eps=1.0)):
        new = MODELS.build(dict(type='DiceLoss', **options))(logits, labels)
        assert not torch.isclose(new, old_dice(logits, labels), rtol=0.02)
    found = unmapped(config_with(tmp_path, f'dict(_delete_=True, {loss})'))
    assert 'is another formula in mmseg 1.x' in found[f'{PLACE}.type']


@pytest.mark.parametrize('loss', ['OhemCrossEntropy', 'BoundaryLoss', 'MyLoss'])
def test_losses_that_mmseg_0_did_not_have_are_refused(loss, tmp_path):
    found = unmapped(config_with(tmp_path, f'dict(_delete_=True, type="{loss}")'))
    assert 'is no loss of mmseg 0.x and 1.x' in found[f'{PLACE}.type']


def test_a_list_of_losses_is_migrated_one_by_one(tmp_path):
    losses = 'dict(type="CrossEntropyLoss", loss_name="loss_ce"), dict(type="LovaszLoss", reduction="none", my=1)'
    assert set(unmapped(config_with(tmp_path, f'[{losses}]'))) == {f'{PLACE}[1].my'}
    new = migrated(config_with(tmp_path, f'[{losses.replace(", my=1", "")}]')).model.segmentor.decode_head.loss_decode
    assert [loss.type for loss in new] == ['CrossEntropyLoss', 'LovaszLoss']


def test_losses_of_auxiliary_heads_and_inside_heads_are_looked_at(tmp_path):
    weights = [1.0 + index for index in range(CLASSES)]
    common = 'channels=64, num_classes=19, norm_cfg=None, align_corners=False'
    body = f'''model = dict(
        auxiliary_head=dict(type='FCNHead', in_channels=512, in_index=3, {common},
                            loss_decode=dict(type='CrossEntropyLoss', class_weight={weights})),
        decode_head=dict(_delete_=True, type='EncHead', in_channels=[64, 128, 320, 512], in_index=(0, 1, 2, 3),
                         {common}, loss_se_decode=dict(type='DiceLoss'), loss_decode=dict(type='CrossEntropyLoss')))'''
    found = unmapped(old.write_old(tmp_path, 'old', 'gta_cityscapes_512', uda='dacs', body=body))
    assert set(found) == {'model.auxiliary_head.loss_decode.class_weight', 'model.decode_head.loss_se_decode.type'}
