"""Parts of the training signals against direct formulas and properties."""
import colorsys
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmseg.datasets import CityscapesDataset

from mmseg_cicld.models.label_rule import LabelRule
from mmseg_cicld.models.segmentor_protocol import View, ViewFeatures
from mmseg_cicld.uda.intensity_augmentation import IntensityAugmentation
from mmseg_cicld.uda.mixing import choose_classes, class_mix, mix_masks, present_ids
from mmseg_cicld.uda.objectives.source import THINGS, FeatureDistance, downscale_labels
from mmseg_cicld.uda.pseudo_labels import PseudoLabelRule
from mmseg_cicld.uda.strong_augmentation import (StrongAugmentation, adjust_hue, colour_jitter, gaussian_blur,
                                                 hsv_to_rgb, rgb_to_hsv)

SOFTMAX = LabelRule(num_classes=5, ignore_index=255, threshold=None).labels_and_confidence
LABELS = st.lists(st.sampled_from([0, 1, 7, 18, 255]), min_size=16, max_size=16)


@settings(max_examples=50, deadline=None)
@given(ids=LABELS, seed=st.integers(0, 99))
def test_half_of_the_present_classes_is_chosen(ids, seed):
    labels = torch.tensor(ids).reshape(1, 4, 4)
    scores = torch.from_numpy(np.random.default_rng(seed).random((1, 256)))
    present = present_ids(labels)
    chosen = choose_classes(present, scores)
    assert set(present.nonzero()[:, 0].tolist()) == set(ids)
    assert int(chosen.sum()) == math.ceil(len(set(ids)) / 2)
    assert not (chosen & ~present).any()
    mask = mix_masks(labels, chosen)
    assert torch.equal(mask, torch.isin(labels, chosen[0].nonzero()[:, 0]))


def test_every_class_is_equally_likely_to_be_pasted():
    present = torch.zeros(256, dtype=torch.bool)
    present[[0, 3, 9, 255]] = True
    scores = torch.rand(4000, 256, generator=torch.Generator().manual_seed(0))
    share = choose_classes(present, scores).double().mean(dim=0)
    assert share[[0, 3, 9, 255]].tolist() == pytest.approx([0.5] * 4, abs=0.03)


def test_mixing_different_sizes_is_refused():
    with pytest.raises(ValueError, match='same crop size'):
        class_mix(torch.zeros(1, 4, 4, dtype=torch.bool), (torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4)),
                  (torch.zeros(1, 3, 4, 8), torch.zeros(1, 4, 8), torch.zeros(1, 4, 8)))


@settings(max_examples=25, deadline=None)
@given(top=st.integers(0, 3), bottom=st.integers(0, 3), threshold=st.floats(0, 1), seed=st.integers(0, 99))
def test_pseudo_label_weight(top, bottom, threshold, seed):
    logits = 3 * torch.randn(2, 5, 8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    pseudo = PseudoLabelRule(threshold, top, bottom)(*SOFTMAX(logits))
    probability = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(axis=1, keepdims=True)
    share = (logits.softmax(dim=1).amax(dim=1) >= threshold).double().mean().item()
    expected = np.full((2, 8, 6), share)
    expected[:, :top] = 0
    expected[:, 8 - bottom:] = 0
    np.testing.assert_allclose(pseudo.weights_BHW, expected)
    np.testing.assert_array_equal(pseudo.labels_BHW, probability.argmax(axis=1))


def test_pixels_that_padding_added_weigh_nothing_and_do_not_count():
    logits = 3 * torch.randn(2, 5, 8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    logits[1, 0, :, 4:] = 20
    real = torch.ones(2, 8, 6, dtype=torch.bool)
    real[0, 5:], real[1, :, 4:] = False, False
    labels, confidence = SOFTMAX(logits)
    pseudo = PseudoLabelRule(0.7)(labels, confidence, real_BHW=real)
    share = (confidence[real] >= 0.7).double().mean()
    assert 0 < share < 1 and share != (confidence >= 0.7).double().mean()
    torch.testing.assert_close(pseudo.weights_BHW, share * real)


def test_labels_that_ignore_another_id_are_shrunk_likewise():
    labels = torch.full((1, 4, 4), 254)
    assert downscale_labels(labels, 4, 0.5, 19, ignore_index=254).item() == 254
    labels[:, :, :3] = 7
    assert downscale_labels(labels, 4, 0.75, 19, ignore_index=254).item() == 7


@pytest.mark.parametrize('mean, std', [([9.0], [3.0]), ([9.0] * 4, [3.0] * 4), ([900.0] * 3, [300.0] * 3),
                                       ([0.4] * 3, [0.2] * 3)], ids=['grey', 'infrared', '12-bit', 'float'])
def test_colour_jitter_is_refused_for_what_is_not_8_bit_rgb(mean, std):
    normalisation = tuple(torch.tensor(values).reshape(1, -1, 1, 1) for values in (mean, std))
    with pytest.raises(ValueError, match="set augmentation=dict.type='IntensityAugmentation'.*in the objective"):
        StrongAugmentation().check(normalisation, 'augmentation')
    IntensityAugmentation().check(normalisation, 'augmentation')


def test_intensity_augmentation_is_the_formula_and_keyed_by_image():
    draws = dict(jitter_coin=0.0, blur_coin=0.0, blur_sigma=0.5)
    pairs = {3: np.array([0.75, 0.25]), 8: np.array([0.5, 1.0])}

    def uniform(name, *key, size=None):
        return pairs[key[0]] if name == 'jitter' else draws[name]

    images = torch.randn(2, 4, 32, 32, dtype=torch.float64)
    out = IntensityAugmentation(jitter_strength=0.4)(images, (None, None), uniform, [3, 8])
    expected = torch.stack([images[0] * 1.2 - 0.2, images[1] * 1.0 + 0.4])
    torch.testing.assert_close(out, gaussian_blur(expected, [0.65, 0.65]))
    draws.update(jitter_coin=0.9, blur_coin=0.9)
    assert torch.equal(IntensityAugmentation()(images, (None, None), uniform, [3, 8]), images)


def test_margins_given_twice_or_too_wide_are_refused():
    logits = torch.zeros(1, 5, 8, 8)
    with pytest.raises(ValueError, match='given twice'):
        PseudoLabelRule(0.9, 1, 0)(*SOFTMAX(logits), torch.ones(1, 1, 8, 8))
    with pytest.raises(ValueError, match='leave nothing of a crop of 8 rows'):
        PseudoLabelRule(0.9, 4, 4)(*SOFTMAX(logits))


def test_things_are_those_of_cityscapes_with_light_and_sign():
    names = [CityscapesDataset.METAINFO['classes'][label] for label in THINGS]
    assert names == ['traffic light', 'traffic sign', 'person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle']


@pytest.mark.parametrize('stride', [2, 4])
def test_feature_distance_formula_and_gradient(stride):
    torch.manual_seed(0)
    distance = FeatureDistance(weight=0.1, classes=[1], min_ratio=0.75)
    distance.num_classes = 3
    distance.frozen = Features(torch.randn(2, 4, 2, 2, dtype=torch.float64))
    features = torch.randn(2, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    side = 2 * stride
    labels = torch.zeros(2, side, side, dtype=torch.int64)
    labels[0, :stride, :stride], labels[1, stride:, stride:] = 1, 1
    labels[0, stride:, :stride // 2] = 1  # half of a block: below the ratio
    loss = distance(ViewFeatures((features, )), View(torch.zeros(2, 3, side, side)), labels)
    gap = (features - distance.frozen.value).square().sum(dim=1).sqrt()
    torch.testing.assert_close(loss, 0.1 * (gap[0, 0, 0] + gap[1, 1, 1]) / 2)
    gradient, = torch.autograd.grad(loss, features)
    assert (gradient != 0).any(dim=1).sum() == 2


def test_feature_distance_without_any_thing_is_zero_and_part_of_the_graph():
    distance = FeatureDistance(classes=[1])
    distance.num_classes = 3
    distance.frozen = Features(torch.zeros(1, 4, 2, 2))
    features = torch.ones(1, 4, 2, 2, requires_grad=True)
    loss = distance(ViewFeatures((features, )), View(torch.zeros(1, 3, 8, 8)), torch.zeros(1, 8, 8, dtype=torch.int64))
    gradient, = torch.autograd.grad(loss, features)
    assert float(loss) == 0 and not gradient.any()


class Features(torch.nn.Module):
    """A frozen encoder that knows one answer."""

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.value = value

    def extract_feat(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.value, )


@pytest.mark.parametrize('counts, winner', [
    (((13, 12), (0, 4)), 13), (((13, 11), (255, 5)), 255), (((255, 13), (13, 3)), 255)])
def test_downscaled_label_of_one_block(counts, winner):
    pixels = torch.cat([torch.full((n, ), value) for value, n in counts])
    assert downscale_labels(pixels.reshape(1, 4, 4), 4, 0.75, 19).item() == winner


def entropy(logits):
    return LabelRule(logits.shape[1], 255, None).normalised_entropy(logits).mean()


def test_entropy_is_one_for_even_and_zero_for_sure_predictions():
    assert float(entropy(torch.zeros(1, 19, 4, 4))) == pytest.approx(1)
    sure = torch.zeros(1, 19, 4, 4)
    sure[:, 3] = 1e4
    assert float(entropy(sure)) == 0
    logits = torch.randn(2, 5, 3, 3, dtype=torch.float64)
    p = logits.softmax(dim=1)
    expected = -(p * torch.log2(p)).sum() / (2 * 3 * 3 * math.log2(5))
    torch.testing.assert_close(entropy(logits), expected)


@settings(max_examples=25, deadline=None)
@given(pixel=st.tuples(*[st.floats(0, 1)] * 3))
def test_colours_survive_hsv_and_a_full_turn(pixel):
    colours = torch.tensor(pixel, dtype=torch.float64).reshape(1, 3, 1, 1)
    back = hsv_to_rgb(*rgb_to_hsv(colours))
    torch.testing.assert_close(back, colours, atol=2e-6, rtol=0)
    torch.testing.assert_close(adjust_hue(colours, 1.0), back, atol=1e-9, rtol=0)


@settings(max_examples=25, deadline=None)
@given(pixel=st.tuples(*[st.integers(0, 255)] * 3))
def test_hue_is_that_of_the_standard_library_in_turns_from_zero_to_one(pixel):
    hue, saturation, value = (part.item() for part in rgb_to_hsv(torch.tensor(pixel).double().reshape(1, 3, 1, 1) / 255))
    expected = colorsys.rgb_to_hsv(*(channel / 255 for channel in pixel))
    assert (hue, value) == pytest.approx((expected[0], expected[2]), abs=1e-9)
    assert saturation * (value + 1e-6) == pytest.approx(expected[1] * value, abs=1e-9)


def test_each_image_is_blurred_with_its_own_sigma():
    images = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    together = gaussian_blur(images, [0.3, 1.1])
    for index, sigma in enumerate([0.3, 1.1]):
        torch.testing.assert_close(together[index:index + 1], gaussian_blur(images[index:index + 1], [sigma]))


@pytest.mark.parametrize('of_first, keys', [(False, [3, 5]), (True, [0, 0])])
def test_order_and_blur_are_those_of_each_image_or_of_the_first(of_first, keys):
    draws = {('jitter_coin',): 0.5, ('blur_coin',): 0.9}
    for index in (0, 3, 5):
        draws['jitter', index] = np.random.default_rng(index).random(8)
        draws['blur_sigma', index] = 0.1 * index
    colours = torch.rand(2, 3, 32, 48, dtype=torch.float64)
    normalisation = torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)
    expected = []
    for image, index, key in zip(colours, (3, 5), keys):
        order, factors = np.argsort(draws['jitter', key][:4]), (2 * draws['jitter', index][4:] - 1) * 0.2 + [1, 1, 1, 0]
        jittered = 255 * colour_jitter(image[None], order.tolist(), factors.tolist())
        expected.append(gaussian_blur(jittered, [0.15 + draws['blur_sigma', key]]))
    augmentation = StrongAugmentation(blur_probability=1, order_and_blur_of_first=of_first)
    ours = augmentation(255 * colours, normalisation, lambda name, *key, size=None: draws[name, *key], (3, 5))
    torch.testing.assert_close(ours, torch.cat(expected))
    assert [np.argsort(draws['jitter', index][:4]).tolist() for index in (3, 5)] != 2 * [
        np.argsort(draws['jitter', 0][:4]).tolist()]


@pytest.mark.parametrize('key, value', [('jitter_strength', 1.5), ('jitter_probability', -0.1),
                                        ('blur_probability', 2)])
def test_augmentation_out_of_range_is_refused(key, value):
    for kind in (StrongAugmentation, IntensityAugmentation):
        with pytest.raises(ValueError, match=f'augmentation.{key}'):
            kind(**{key: value})
