"""Frechet distance between two sets of images, from features of a network that lies on this machine.

Like FID (Heusel et al., NeurIPS 2017), but with any network: values compare only with values of the same network,
image size and number of images.
"""
from dataclasses import dataclass

import numpy as np

from .errors import TranslationError


@dataclass
class FeatureMoments:
    """What a Gaussian fit needs of any number of feature vectors.

    Args:
        count: Number of vectors.
        sum_D: Their sum, float64.
        products_DD: The sum of their outer products, float64.
    """

    count: int = 0
    sum_D: np.ndarray | float = 0.0
    products_DD: np.ndarray | float = 0.0

    def add(self, features_D: np.ndarray) -> None:
        """Counts one vector."""
        self.count += 1
        self.sum_D = self.sum_D + features_D
        self.products_DD = self.products_DD + np.outer(features_D, features_D)

    def merge(self, other: 'FeatureMoments') -> None:
        """Adds what another process has counted."""
        self.count += other.count
        self.sum_D = self.sum_D + other.sum_D
        self.products_DD = self.products_DD + other.products_DD

    def gaussian(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean [D] and unbiased covariance [D, D].

        Raises:
            TranslationError: If there are fewer than two vectors.
        """
        if self.count < 2:
            raise TranslationError(f'report.features: {self.count} images, but a Frechet distance needs at least 2 of the '
                                   'source, translated and target images each. Set report.features=None')
        mean_D = self.sum_D / self.count
        return mean_D, (self.products_DD - self.count * np.outer(mean_D, mean_D)) / (self.count - 1)


def frechet_distance(left: FeatureMoments, right: FeatureMoments) -> float:
    """Computes the squared Frechet distance of two Gaussians: of means, plus of covariances.

    Args:
        left: At least two vectors.
        right: At least two vectors of the same length.
    """
    (left_mean, left_covariance), (right_mean, right_covariance) = left.gaussian(), right.gaussian()
    root = _root(left_covariance)
    # The eigenvalues of this product are those of left @ right, but it is symmetric.
    shared = np.linalg.eigvalsh(root @ right_covariance @ root)
    overlap = np.sqrt(shared.clip(min=0)).sum()
    distance = ((left_mean - right_mean) ** 2).sum() + np.trace(left_covariance) + np.trace(right_covariance)
    return float(max(distance - 2 * overlap, 0))


def _root(covariance_DD: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance_DD)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
