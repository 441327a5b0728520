"""The Frechet distance of features: closed forms, and sharing the work."""
import numpy as np
import pytest

from mmseg_cicld.translation import TranslationError
from mmseg_cicld.translation.frechet import FeatureMoments, frechet_distance


def moments(features_ND):
    result = FeatureMoments()
    for features_D in features_ND:
        result.add(features_D)
    return result


def test_moments_are_mean_and_covariance_however_they_are_shared():
    features = np.random.default_rng(0).normal(3, 2, (50, 4))
    whole, first, second = moments(features), moments(features[:20]), moments(features[20:])
    first.merge(second)
    first.merge(FeatureMoments())
    for part in (whole, first):
        mean, covariance = part.gaussian()
        np.testing.assert_allclose(mean, features.mean(0))
        np.testing.assert_allclose(covariance, np.cov(features.T))


def test_distance_of_known_gaussians():
    features = np.random.default_rng(0).normal(size=(200, 5))
    same = moments(features)
    assert frechet_distance(same, same) == pytest.approx(0, abs=1e-10)
    shift = np.array([1., -2, 0, 0.5, 0])
    assert frechet_distance(same, moments(features + shift)) == pytest.approx((shift ** 2).sum())
    # Scaling by s: trace(C) (1 - s)^2, plus the distance of the means.
    mean, covariance = same.gaussian()
    expected = np.trace(covariance) * 4 + (4 * mean ** 2).sum()
    assert frechet_distance(same, moments(3 * features)) == pytest.approx(expected)


def test_distance_is_that_of_the_matrix_root_also_with_few_images():
    from scipy.linalg import sqrtm
    streams = np.random.default_rng(1)
    left, right = streams.normal(size=(40, 6)), streams.normal(size=(40, 6)) @ streams.normal(size=(6, 6))
    (m1, c1), (m2, c2) = moments(left).gaussian(), moments(right).gaussian()
    expected = ((m1 - m2) ** 2).sum() + np.trace(c1 + c2 - 2 * sqrtm(c1 @ c2).real)
    assert frechet_distance(moments(left), moments(right)) == pytest.approx(expected)
    few = moments(streams.normal(size=(3, 6)))  # covariance of rank 2
    assert frechet_distance(few, moments(left)) == pytest.approx(frechet_distance(moments(left), few)) != 0
    assert frechet_distance(moments(left[:2]), moments(left[:2])) == pytest.approx(0, abs=1e-10)
    with pytest.raises(TranslationError, match='at least 2'):
        frechet_distance(moments(left[:1]), few)
