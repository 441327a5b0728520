"""mmseg's losses with pixel weights: its own values with ones, and each formula against mmseg on repeated pixels."""
import pytest
import torch
from mmseg.registry import MODELS
from torch.nn import functional as F

from mmseg_cicld.models.pixel_losses import pixel_loss

CLASSES, IGNORE = 4, 255
CE, DICE, LOVASZ = dict(type='CrossEntropyLoss'), dict(type='DiceLoss'), dict(type='LovaszLoss', reduction='none')
OHEM, TVERSKY, FOCAL = dict(type='OhemCrossEntropy', min_kept=40), dict(type='TverskyLoss'), dict(type='FocalLoss')
CLASS_WEIGHT = [1., 2., .5, 3.]
LOSSES = {
    'cross_entropy': CE,
    'cross_entropy_of_labelled': dict(CE, avg_non_ignore=True),
    'cross_entropy_sum': dict(CE, reduction='sum'),
    'cross_entropy_map': dict(CE, reduction='none', loss_weight=.5),
    'sigmoid': dict(CE, use_sigmoid=True),
    'sigmoid_of_labelled': dict(CE, use_sigmoid=True, avg_non_ignore=True),
    'dice': dict(DICE, loss_weight=.5),
    'softmax_dice': dict(DICE, use_sigmoid=False, naive_dice=True),
    'dice_without_background': dict(DICE, ignore_index=0, reduction='none'),
    'dice_of_all': dict(DICE, ignore_index=None),
    'lovasz': dict(LOVASZ, loss_weight=2.),
    'lovasz_per_image': dict(LOVASZ, per_image=True, reduction='mean', class_weight=CLASS_WEIGHT),
    'lovasz_all': dict(LOVASZ, classes='all'),
    'lovasz_of_some': dict(LOVASZ, classes=[1, 3]),
    'tversky': dict(TVERSKY, class_weight=CLASS_WEIGHT, smooth=1e-3),
    'ohem': dict(OHEM, class_weight=CLASS_WEIGHT, loss_weight=.4),
    'ohem_threshold': dict(OHEM, min_kept=1, thres=.4),
}
BINARY = {
    'sigmoid': dict(CE, use_sigmoid=True),
    'sigmoid_of_labelled': dict(CE, use_sigmoid=True, avg_non_ignore=True),
    'lovasz': dict(LOVASZ, loss_type='binary'),
    'lovasz_per_image': dict(LOVASZ, loss_type='binary', per_image=True, reduction='mean'),
    'boundary': dict(type='BoundaryLoss', loss_weight=2.),
}
# Without a form of mmseg for these: its own is another call, or it stops.
OTHERS = {'focal': FOCAL, 'focal_map': dict(FOCAL, reduction='none', alpha=[.1, .2, .3, .4], class_weight=CLASS_WEIGHT),
          'class_weights': dict(CE, class_weight=CLASS_WEIGHT)}
EVERY = [(name, config, CLASSES) for name, config in (LOSSES | OTHERS).items()] + [
    (name, config, 1) for name, config in (BINARY | dict(focal=FOCAL)).items()]


def maps(channels, seed=0):
    draw = torch.Generator().manual_seed(seed)
    labels_BHW = torch.randint(0, max(channels, 2), (2, 6, 9), generator=draw)
    labels_BHW[:, 0, :4] = IGNORE
    return torch.randn(2, channels, 6, 9, generator=draw).mul(2).requires_grad_(), labels_BHW


def value(config, logits_BCHW, labels_BHW, weights_BHW=None):
    return pixel_loss(MODELS.build(dict(config)), logits_BCHW, labels_BHW, weights_BHW, IGNORE)


def of_mmseg(config, logits_BCHW, labels_BHW):
    options = {} if config['type'] in ('OhemCrossEntropy', 'BoundaryLoss') else dict(ignore_index=IGNORE)
    return MODELS.build(dict(config))(logits_BCHW, labels_BHW, **options)


@pytest.mark.parametrize(('name', 'channels'), [(name, CLASSES) for name in LOSSES] + [(name, 1) for name in BINARY])
def test_without_weights_and_with_ones_it_is_the_value_and_gradient_of_mmseg(name, channels):
    config = (LOSSES if channels > 1 else BINARY)[name]
    logits_BCHW, labels_BHW = maps(channels)
    expected = of_mmseg(config, logits_BCHW, labels_BHW)
    gradient, = torch.autograd.grad(expected.sum(), logits_BCHW)
    assert expected.abs().max() > 0
    for weights_BHW in (None, torch.ones(2, 6, 9)):
        found = value(config, logits_BCHW, labels_BHW, weights_BHW)
        assert torch.equal(found, expected)
        torch.testing.assert_close(torch.autograd.grad(found.sum(), logits_BCHW)[0], gradient)


@pytest.mark.parametrize(('name', 'config', 'channels'), EVERY)
def test_zero_weights_leave_no_loss_and_no_gradient(name, config, channels):
    logits_BCHW, labels_BHW = maps(channels)
    found = value(config, logits_BCHW, labels_BHW, torch.zeros(2, 6, 9))
    assert not found.any()
    assert not torch.autograd.grad(found.sum(), logits_BCHW)[0].any()


@pytest.mark.parametrize(('name', 'config', 'channels'), EVERY)
def test_pixels_of_weight_zero_have_no_part(name, config, channels):
    logits_BCHW, labels_BHW = maps(channels)
    others_BCHW, other_labels_BHW = maps(channels, seed=1)
    weights_BHW = torch.rand(2, 6, 9, generator=torch.Generator().manual_seed(2))
    weights_BHW[:, 1:3] = 0
    off_BHW = weights_BHW == 0
    if name == 'class_weights':  # what a mean is divided by is mmseg's: the class weights of all labelled pixels
        other_labels_BHW = labels_BHW
    changed = value(config, others_BCHW.where(off_BHW[:, None], logits_BCHW),
                    other_labels_BHW.where(off_BHW, labels_BHW), weights_BHW)
    torch.testing.assert_close(changed, value(config, logits_BCHW, labels_BHW, weights_BHW))


@pytest.mark.parametrize(('name', 'config', 'channels'), [case for case in EVERY if case[1]['type'] != 'DiceLoss'])
def test_weights_of_pixels_to_ignore_have_no_part(name, config, channels):
    logits_BCHW, labels_BHW = maps(channels)
    weights_BHW = torch.rand(2, 6, 9, generator=torch.Generator().manual_seed(2))
    without = value(config, logits_BCHW, labels_BHW, weights_BHW.masked_fill(labels_BHW == IGNORE, 0))
    torch.testing.assert_close(value(config, logits_BCHW, labels_BHW, weights_BHW), without)


@pytest.mark.parametrize(('name', 'config', 'channels'), EVERY)
def test_the_loss_grows_with_the_weights_as_a_mean_does(name, config, channels):
    logits_BCHW, labels_BHW = maps(channels)
    weights_BHW = 0.5 + torch.rand(2, 6, 9, generator=torch.Generator().manual_seed(2)) / 2
    whole = value(config, logits_BCHW, labels_BHW, weights_BHW)
    # Constants against a division by zero are not scaled.
    torch.testing.assert_close(value(config, logits_BCHW, labels_BHW, weights_BHW / 4), whole / 4, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize('name', ['dice', 'softmax_dice', 'lovasz', 'lovasz_per_image', 'tversky', 'binary_lovasz'])
def test_in_losses_of_regions_a_pixel_of_weight_two_is_two_pixels(name):
    config = BINARY['lovasz'] if name == 'binary_lovasz' else LOSSES[name]
    logits_BCHW, labels_BHW = (part[:1] for part in maps(1 if name == 'binary_lovasz' else CLASSES))
    labels_BHW = labels_BHW.where(labels_BHW != IGNORE, 0)
    counts_BHW = torch.randint(0, 3, (1, 6, 9), generator=torch.Generator().manual_seed(2))
    counts_P = counts_BHW.flatten()
    repeated = logits_BCHW.flatten(2).repeat_interleave(counts_P, dim=2)[:, :, None]
    expected = of_mmseg(config, repeated, labels_BHW.flatten(1).repeat_interleave(counts_P, dim=1)[:, None])
    found = value(config, logits_BCHW, labels_BHW, counts_BHW.float())
    torch.testing.assert_close(found, expected * counts_BHW.float().mean())


def test_cross_entropy_and_ohem_multiply_each_pixel():
    logits_BCHW, labels_BHW = maps(CLASSES)
    weights_BHW = torch.rand(2, 6, 9, generator=torch.Generator().manual_seed(2))
    costs_BHW = weights_BHW * F.cross_entropy(logits_BCHW, labels_BHW, ignore_index=IGNORE, reduction='none')
    torch.testing.assert_close(value(CE, logits_BCHW, labels_BHW, weights_BHW), costs_BHW.mean())
    hard_BHW = logits_BCHW.softmax(1).gather(1, labels_BHW.where(labels_BHW < IGNORE, 0)[:, None])[:, 0] < .4
    expected = costs_BHW[hard_BHW & (labels_BHW < IGNORE)].mean()
    torch.testing.assert_close(value(LOSSES['ohem_threshold'], logits_BCHW, labels_BHW, weights_BHW), expected)


def test_class_weights_leave_out_ignored_pixels_as_torch_does():
    logits_BCHW, labels_BHW = maps(CLASSES)
    expected = F.cross_entropy(logits_BCHW, labels_BHW, torch.tensor(CLASS_WEIGHT), ignore_index=IGNORE)
    for avg_non_ignore in (False, True):
        config = dict(CE, class_weight=CLASS_WEIGHT, avg_non_ignore=avg_non_ignore)
        torch.testing.assert_close(value(config, logits_BCHW, labels_BHW), expected)
        everywhere_BHW = labels_BHW.where(labels_BHW != IGNORE, 1)
        assert torch.equal(value(config, logits_BCHW, everywhere_BHW), of_mmseg(config, logits_BCHW, everywhere_BHW))


@pytest.mark.parametrize('channels', [1, CLASSES])
@pytest.mark.parametrize('options', [{}, dict(alpha=.25, gamma=1.5), dict(reduction='sum', loss_weight=.5)])
def test_focal_loss_of_labels_is_that_of_mmseg_on_one_hot_rows(channels, options):
    logits_BCHW, labels_BHW = maps(channels)
    labels_BHW = labels_BHW.where(labels_BHW != IGNORE, 0)
    rows_PC = logits_BCHW.permute(0, 2, 3, 1).reshape(-1, channels)
    one_hot_PC = F.one_hot(labels_BHW.flatten(), max(channels, 2))[:, -channels:]
    expected = MODELS.build(dict(FOCAL, **options))(rows_PC, one_hot_PC, ignore_index=IGNORE)
    torch.testing.assert_close(value(dict(FOCAL, **options), logits_BCHW, labels_BHW), expected)


def test_focal_loss_can_stay_a_map():
    logits_BCHW, labels_BHW = maps(CLASSES)
    weights_BHW = torch.rand(2, 6, 9, generator=torch.Generator().manual_seed(2))
    found = value(dict(FOCAL, reduction='none'), logits_BCHW, labels_BHW, weights_BHW)
    assert found.shape == logits_BCHW.shape
    assert not found[labels_BHW[:, None].expand_as(found) == IGNORE].any()
    torch.testing.assert_close(found.mean(), value(FOCAL, logits_BCHW, labels_BHW, weights_BHW))


@pytest.mark.parametrize(('name', 'config', 'channels'), EVERY)
def test_without_any_label_losses_are_finite(name, config, channels):
    logits_BCHW, labels_BHW = maps(channels)
    found = value(config, logits_BCHW, torch.full_like(labels_BHW, IGNORE))
    assert found.isfinite().all()
    assert config['type'] == 'DiceLoss' or not found.any()
    torch.autograd.grad(found.sum(), logits_BCHW)


def test_a_single_labelled_pixel_is_enough():
    logits_BCHW, labels_BHW = maps(CLASSES)
    labels_BHW = torch.full_like(labels_BHW, IGNORE)
    labels_BHW[0, 2, 3] = 1
    probability = logits_BCHW.softmax(1)[0, 1, 2, 3]
    torch.testing.assert_close(value(LOVASZ, logits_BCHW, labels_BHW), 1 - probability)


def test_pixels_without_a_weight_do_not_raise_ohem():
    logits_BCHW, labels_BHW = maps(CLASSES)
    weights_BHW = torch.ones(2, 6, 9)
    weights_BHW[:, :3] = 0
    kept_BHW, labelled_BHW = (weights_BHW > 0) & (labels_BHW < IGNORE), labels_BHW < IGNORE
    alone = value(LOSSES['ohem_threshold'], logits_BCHW, labels_BHW.where(weights_BHW > 0, IGNORE))
    found = value(LOSSES['ohem_threshold'], logits_BCHW, labels_BHW, weights_BHW)
    torch.testing.assert_close(found, alone * kept_BHW.sum() / labelled_BHW.sum())
    assert found < value(LOSSES['ohem_threshold'], logits_BCHW, labels_BHW)


def test_without_hard_pixels_ohem_is_zero():
    _, labels_BHW = maps(CLASSES)
    sure_BCHW = 200. * F.one_hot(labels_BHW.clamp(max=CLASSES), CLASSES + 1)[..., :CLASSES].permute(0, 3, 1, 2)
    assert value(OHEM, sure_BCHW, labels_BHW) == 0
