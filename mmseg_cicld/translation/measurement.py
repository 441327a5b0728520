"""Compares a translated dataset with its source: label agreement, and distance to the target domain."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from ..datasets.file_reading import read_image
from ..datasets.label_audit import build_without_pipeline
from ..datasets.wrapped_datasets import is_local
from ..progress import Progress
from .errors import TranslationError
from .frechet import FeatureMoments, frechet_distance
from .image_translation import resized
from .label_agreement import Agreement, load_segmentor, pooled_features, predict
from .source_images import SourceFile, SourceImage, SourceImages

FEATURE_KEYS = ('config', 'checkpoint', 'size')


@dataclass(frozen=True)
class ReportSettings:
    """What is measured and shown.

    Args:
        segmentor: ``dict(config=FILE, checkpoint=FILE)`` of the segmentor whose predictions are compared with the
            labels, best one that neither guided nor filtered; None: not measured.
        features: ``dict(config=FILE, checkpoint=FILE, size=(HEIGHT, WIDTH))``: a segmentor whose backbone describes
            images for the Frechet distance, and the size at which it sees them (left out: as stored). Needs ``target``.
        target: Config of a dataset of target images, labels not needed.
        rows: Number of images that are shown.

    Raises:
        TranslationError: If the settings do not fit.
    """

    segmentor: dict | None = None
    features: dict | None = None
    target: dict | None = None
    rows: int = 8

    def __post_init__(self) -> None:
        if (self.features is None) != (self.target is None):
            raise TranslationError('report.features is measured between source, translated and target images: set '
                                   'report.features and report.target, or neither')
        if self.features is not None and self.features.keys() - set(FEATURE_KEYS):
            raise TranslationError(f'report.features has the keys {sorted(self.features)}, allowed are '
                                   f'{", ".join(FEATURE_KEYS)}')


@dataclass
class Measurement:
    """What one process has counted; ``before`` is the source, ``after`` the translated images.

    Args:
        before: Predictions in source images and source labels.
        after: Predictions in translated images and source labels.
        kept: Predictions in translated images and the labels that a quality filter has left.
        features: Of ``'source'``, ``'translated'`` and ``'target'`` images.
    """

    before: Agreement
    after: Agreement
    kept: Agreement
    features: dict[str, FeatureMoments] = field(
        default_factory=lambda: {name: FeatureMoments() for name in ('source', 'translated', 'target')})

    def merge(self, other: 'Measurement') -> None:
        """Adds what another process has counted."""
        for name in ('before', 'after', 'kept'):
            getattr(self, name).confusion_CC += getattr(other, name).confusion_CC
        for name, moments in self.features.items():
            moments.merge(other.features[name])

    def summary(self, classes: Sequence[str]) -> dict:
        """Returns the measured numbers as plain JSON: shares in [0, 1], classes that do not occur as None."""
        numbers: dict = {}
        if self.before.confusion_CC.any():
            numbers['label_agreement'] = {name: dict(
                pixel_accuracy=agreement.pixel_accuracy, mean_iou=agreement.mean_iou,
                class_iou={name: None if np.isnan(iou) else float(iou)
                           for name, iou in zip(classes, agreement.class_iou, strict=True)})
                for name, agreement in (('before', self.before), ('after', self.after), ('after_filter', self.kept))
                if agreement.confusion_CC.any()}
        if self.features['target'].count:
            source, translated, target = (self.features[name] for name in ('source', 'translated', 'target'))
            numbers['frechet_distance'] = dict(
                before=frechet_distance(source, target), after=frechet_distance(translated, target),
                images={name: moments.count for name, moments in self.features.items()})
        return numbers


@dataclass(frozen=True)
class Instruments:
    """The networks that measure; None: not measured."""

    segmentor: nn.Module | None
    features: nn.Module | None
    feature_size: tuple[int, int] | None
    target_files: Sequence[str]

    @classmethod
    def build(cls, settings: ReportSettings, classes: int, device: torch.device) -> 'Instruments':
        """Builds the networks and lists the target images.

        Raises:
            TranslationError: If a file is missing or a network does not fit.
        """
        segmentor = (None if settings.segmentor is None
                     else load_segmentor(settings.segmentor, 'report.segmentor', classes, device))
        if settings.features is None:
            return cls(segmentor, None, None, [])
        entry = {key: value for key, value in settings.features.items() if key != 'size'}
        return cls(segmentor, load_segmentor(entry, 'report.features', None, device), settings.features.get('size'),
                   _target_files(settings.target))

    def describe(self, image_HW3: np.ndarray, moments: FeatureMoments) -> None:
        """Adds the features of an image."""
        if self.feature_size is not None:
            height, width = self.feature_size
            image_HW3 = cv2.resize(image_HW3, (width, height), interpolation=cv2.INTER_AREA)
        moments.add(pooled_features(self.features, image_HW3))


def measure(files: Sequence[SourceFile], source: SourceImages, output: Path, working_size: tuple[int, int] | None,
            instruments: Instruments, share: slice, report: Callable[[str], None]) -> Measurement:
    """Measures a share of all images.

    Args:
        files: Images that were translated and kept.
        source: Where they come from.
        output: The translated dataset.
        working_size: Height and width at which the segmentor sees images, as they were translated.
        instruments: What measures.
        share: Which of the files, and of the target images, this process looks at.
        report: Takes lines about the progress.

    Returns:
        Counts, to be merged with those of other processes.
    """
    result = Measurement(*(Agreement.of_classes(len(source.classes)) for _ in range(3)))
    if instruments.segmentor is None and instruments.features is None:
        return result
    progress = Progress(report)
    progress.plan('images', 'measured')
    progress.start('images')
    for done, file in enumerate(files[share], start=1):
        before, after = source.read(file), source.read(file.at(output))
        if instruments.segmentor is not None:
            _compare(instruments.segmentor, before, after, working_size, result)
        if instruments.features is not None:
            instruments.describe(before.image_HW3, result.features['source'])
            instruments.describe(after.image_HW3, result.features['translated'])
        progress.update('images', done, len(files[share]), 'images')
    for path in instruments.target_files[share]:
        image_HW3 = np.ascontiguousarray(read_image(path)[..., ::-1])
        instruments.describe(image_HW3, result.features['target'])
    return result


def _compare(segmentor: nn.Module, before: SourceImage, after: SourceImage, working_size: tuple[int, int] | None,
             result: Measurement) -> None:
    for agreement, image_HW3, label_HW in ((result.before, before.image_HW3, before.label_HW),
                                           (result.after, after.image_HW3, before.label_HW)):
        seen_HW3, label_HW = resized(image_HW3, label_HW, working_size)
        prediction_HW, _ = predict(segmentor, seen_HW3)
        agreement.add(label_HW, prediction_HW)
    result.kept.add(resized(after.image_HW3, after.label_HW, working_size)[1], prediction_HW)


def _target_files(config: dict) -> list[str]:
    if not is_local(config.get('data_root') or '', config.get('backend_args')):
        raise TranslationError(f'report.target.backend_args={config.get("backend_args")}: target images are read '
                               'from the disk. Copy them there and remove report.target.backend_args')
    try:
        dataset = build_without_pipeline({key: value for key, value in config.items() if key != 'pipeline'}, 'target')
    except ValueError as error:
        raise TranslationError(f'report.target: {error}') from error
    return [dataset.get_data_info(index)['img_path'] for index in range(len(dataset))]
