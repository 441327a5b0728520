"""Takes labels away where a segmentor does not find them in the translated image."""
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from torch import nn

from ..ignore_index import IGNORE_INDEX
from .errors import TranslationError
from .image_translation import resized
from .label_agreement import predict


@dataclass(frozen=True)
class FilterThresholds:
    """When a label is not trusted. At least one has to be given; None switches one off.

    Args:
        pixel_confidence: A pixel is masked (255) if another class than its label is predicted with at least this
            probability, in [0, 1]; 0 masks every pixel that is predicted otherwise.
        region_agreement: A region, which is a connected area of one class, is masked if a smaller share of its pixels
            than this, in (0, 1], is predicted as its class.
        image_agreement: An image is dropped if a smaller share of its labelled pixels than this, in (0, 1], is
            predicted as labelled.

    Raises:
        TranslationError: If a threshold is out of range, or none is given.
    """

    pixel_confidence: float | None = None
    region_agreement: float | None = None
    image_agreement: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if not given:
            raise TranslationError('quality_filter has no threshold: give pixel_confidence, region_agreement or '
                                   'image_agreement, or set quality_filter=None')
        wrong = {name: value for name, value in given.items()
                 if not 0 <= value <= 1 or (value == 0 and name != 'pixel_confidence')}
        if wrong:
            raise TranslationError(f'quality_filter has {wrong}: pixel_confidence lies in [0, 1], region_agreement and '
                                   'image_agreement in (0, 1]')


@dataclass(frozen=True)
class Verdict:
    """What a filter says about one image.

    Args:
        untrusted_HW: Pixels whose label is taken away; only labelled ones.
        dropped: Whether the image is dropped as a whole.
        agreement: Share of labelled pixels that are predicted as labelled; 1 for an image without any.
    """

    untrusted_HW: np.ndarray
    dropped: bool
    agreement: float


@dataclass(frozen=True)
class QualityFilter:
    """Judges labels with a segmentor.

    Args:
        segmentor: Its opinion counts; best one that did not guide the translation.
        thresholds: When a label is not trusted.
        working_size: Height and width at which the segmentor sees images; None: as they are.
    """

    segmentor: nn.Module
    thresholds: FilterThresholds
    working_size: tuple[int, int] | None = None

    def __call__(self, image_HW3: np.ndarray, label_HW: np.ndarray) -> Verdict:
        """Judges the label of a translated image (uint8 RGB; uint8 class ids, 255 = ignore)."""
        seen_HW3, _ = resized(image_HW3, label_HW, self.working_size)
        width_height = label_HW.shape[::-1]
        prediction_HW, confidence_HW = (cv2.resize(part, width_height, interpolation=cv2.INTER_NEAREST)
                                        for part in predict(self.segmentor, seen_HW3))
        return judge_label(label_HW, prediction_HW, confidence_HW, self.thresholds)


def judge_label(label_HW: np.ndarray, prediction_HW: np.ndarray, confidence_HW: np.ndarray,
                thresholds: FilterThresholds) -> Verdict:
    """Compares a label with what a segmentor sees in the translated image.

    Args:
        label_HW: uint8 class ids, 255 = ignore.
        prediction_HW: Class ids.
        confidence_HW: Probability of the predicted class, in [0, 1].
        thresholds: When a label is not trusted.

    Returns:
        The verdict. The agreement of the image is that before pixels and regions are masked.
    """
    labelled_HW, agrees_HW = label_HW != IGNORE_INDEX, prediction_HW == label_HW
    count = int(labelled_HW.sum())
    agreement = float((agrees_HW & labelled_HW).sum() / count) if count else 1.0
    untrusted_HW = np.zeros(label_HW.shape, bool)
    if thresholds.pixel_confidence is not None:
        untrusted_HW |= ~agrees_HW & (confidence_HW >= thresholds.pixel_confidence)
    if thresholds.region_agreement is not None:
        for regions_HW, region_count in _regions(label_HW):
            pixels = np.bincount(regions_HW.ravel(), minlength=region_count)
            agreeing = np.bincount(regions_HW[agrees_HW], minlength=region_count)
            faulty = agreeing < thresholds.region_agreement * pixels
            faulty[0] = False  # pixels of other classes
            untrusted_HW |= faulty[regions_HW]
    dropped = thresholds.image_agreement is not None and agreement < thresholds.image_agreement
    return Verdict(untrusted_HW & labelled_HW, dropped, agreement)


def _regions(label_HW: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Numbers the connected areas of each class from 1 (diagonal neighbours count); 0 is what has another class."""
    for class_id in np.unique(label_HW[label_HW != IGNORE_INDEX]):
        count, regions_HW = cv2.connectedComponents((label_HW == class_id).astype(np.uint8), connectivity=8)
        yield regions_HW, count
