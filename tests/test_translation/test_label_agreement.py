"""A segmentor's predictions are compared with labels, and bad labels are taken away."""
import numpy as np
import pytest
import torch
from tiny_translation import CLASSES, write_segmentor, write_source

from mmseg_cicld.translation.errors import TranslationError
from mmseg_cicld.translation.label_agreement import Agreement, load_segmentor, pooled_features, predict
from mmseg_cicld.translation.quality_filter import FilterThresholds, QualityFilter, judge_label
from mmseg_cicld.translation.source_images import SourceImages


@pytest.fixture
def segmentor(tmp_path):
    return load_segmentor(write_segmentor(tmp_path), 'segmentor', 3, 'cpu')


def test_agreement_is_what_a_loop_over_pixels_counts():
    streams = np.random.default_rng(0)
    label, prediction = streams.integers(0, 4, (20, 30)), streams.integers(0, 4, (20, 30))
    label[label == 3] = 255  # class 3 is predicted, but never labelled
    agreement = Agreement.of_classes(5)
    for rows in (slice(0, 7), slice(7, 20)):
        agreement.add(label[rows].astype(np.uint8), prediction[rows].astype(np.uint8))
    pairs = [(int(a), int(b)) for a, b in zip(label.ravel(), prediction.ravel()) if a != 255]
    hits = [sum(a == b == c for a, b in pairs) for c in range(5)]
    shown = [sum(c in pair for pair in pairs) for c in range(5)]
    assert agreement.pixel_accuracy == sum(hits) / len(pairs)
    np.testing.assert_allclose(agreement.class_iou[:4], [hit / n for hit, n in zip(hits[:4], shown[:4])])
    assert np.isnan(agreement.class_iou[4])
    assert agreement.mean_iou == pytest.approx(sum(hit / n for hit, n in zip(hits[:4], shown[:4])) / 4)
    assert np.isnan(Agreement.of_classes(3).mean_iou) and np.isnan(Agreement.of_classes(3).pixel_accuracy)


def test_images_are_seen_in_rgb_with_the_segmentors_own_normalisation(segmentor):
    image = np.zeros((4, 6, 3), np.uint8)
    image[:, :2, 0], image[:, 2:4, 1], image[:, 4:, 2] = 64, 96, 128
    prediction, confidence = predict(segmentor, image)
    np.testing.assert_array_equal(prediction, np.arange(3)[None].repeat(4, 0).repeat(2, 1))
    for column, value in ((0, 2.), (2, 3.), (4, 4.)):  # value / std against two zeros
        assert confidence[0, column] == pytest.approx(np.exp(value) / (np.exp(value) + 2), rel=1e-5)
    np.testing.assert_allclose(pooled_features(segmentor, image), np.array([2, 3, 4]) / 3)


def test_pixels_regions_and_images_have_their_own_thresholds():
    label = np.zeros((6, 8), np.uint8)
    label[:3, :3] = 1      # region of 9 pixels
    label[4:, 5:] = 1      # another one, of 6 pixels
    label[0, 7] = 255
    prediction = label.copy()
    prediction[0, 7] = 0
    prediction[0, :3] = 2  # 3 of 9 wrong
    prediction[4, 5:], prediction[5, 5:7] = 2, 2  # 5 of 6 wrong
    confidence = np.full(label.shape, 0.5)
    confidence[0, 1] = 0.9

    def masked(**thresholds):
        return judge_label(label, prediction, confidence, FilterThresholds(**thresholds)).untrusted_HW
    assert np.argwhere(masked(pixel_confidence=0.8)).tolist() == [[0, 1]]
    assert np.argwhere(masked(pixel_confidence=0.9)).tolist() == [[0, 1]]  # from the threshold on
    assert not masked(pixel_confidence=0.95).any()
    np.testing.assert_array_equal(masked(pixel_confidence=0), (prediction != label) & (label != 255))
    second = np.zeros(label.shape, bool)
    second[4:, 5:] = True
    np.testing.assert_array_equal(masked(region_agreement=0.6), second)
    np.testing.assert_array_equal(masked(region_agreement=0.7), label == 1)
    assert not masked(region_agreement=1 / 6).any()
    verdict = judge_label(label, prediction, confidence, FilterThresholds(image_agreement=0.9))
    assert verdict.agreement == 39 / 47 and verdict.dropped and not verdict.untrusted_HW.any()
    assert not judge_label(label, prediction, confidence, FilterThresholds(image_agreement=39 / 47)).dropped
    nothing = judge_label(np.full((2, 2), 255, np.uint8), prediction[:2, :2], confidence[:2, :2],
                          FilterThresholds(0, 1, 1))
    assert nothing.agreement == 1 and not nothing.dropped and not nothing.untrusted_HW.any()


def test_filter_sees_images_at_the_size_of_the_translation(segmentor, tmp_path):
    source = SourceImages(write_source(tmp_path / 'source', 1))
    read = source.read(source.files[0])
    verdict = QualityFilter(segmentor, FilterThresholds(pixel_confidence=0), (8, 12))(read.image_HW3, read.label_HW)
    assert verdict.untrusted_HW.shape == read.label_HW.shape and verdict.agreement == 1


@pytest.mark.parametrize('settings', [{}, dict(pixel_confidence=1.5), dict(region_agreement=0),
                                      dict(image_agreement=-1)])
def test_impossible_thresholds_are_refused(settings):
    with pytest.raises(TranslationError, match='quality_filter has'):
        FilterThresholds(**settings)


def test_wrong_segmentors_are_named(tmp_path):
    entry = write_segmentor(tmp_path)

    def refused(entry, match, classes=3):
        with pytest.raises(TranslationError, match=match):
            load_segmentor(entry, 'quality_filter.segmentor', classes, 'cpu')
    refused(None, r'quality_filter.segmentor=None: give dict\(config=FILE, checkpoint=FILE\)')
    refused(dict(entry, config='nowhere.py'), r"quality_filter.segmentor.config='nowhere.py': there is no such file")
    refused(dict(entry, checkpoint='nowhere.pth'), 'checkpoint=.nowhere.pth.: there is no such file')
    refused(entry, f'predicts {len(CLASSES)} classes, the labels of the source dataset have 4', classes=4)
    torch.save(dict(state_dict={'other': torch.zeros(1)}), tmp_path / 'other.pth')
    refused(dict(entry, checkpoint=str(tmp_path / 'other.pth')), 'does not fit quality_filter.segmentor.config')
