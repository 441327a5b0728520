"""Looks at one image and its label: what would stop a run that draws it, or spoil it in silence."""
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..ignore_index import IGNORE_INDEX
from .domain import class_ids_as_trained
from .file_reading import DataFileError, MissingFileError, check_same_size
from .image_region import count_ids
from .loading import Loading

ALL_IGNORE, FEW_BITS = 'all-ignore', 'few bits'
ALL_BITS = 16


@dataclass(frozen=True)
class Finding:
    """One fault: what kind, in which file, and a sentence with the fix."""

    kind: str
    file: str
    message: str

    @property
    def text(self) -> str:
        """The sentence with the file in it."""
        return self.message if self.file in self.message else f'{self.file} {self.message}'


class SampleAudit(NamedTuple):
    """What one image and its label show.

    Args:
        findings: Faults.
        counts: Pixels by training id; empty without a label that can be used.
        palette: Whether the label is a palette PNG.
        channels: Of the image as it is loaded; None if it cannot be.
        bits: See :meth:`Loading.image`.
    """

    findings: list[Finding]
    counts: dict[int, int]
    palette: bool = False
    channels: int | None = None
    bits: int | None = None


def audit_sample(info: dict, num_classes: int, with_labels: bool, loading: Loading | None = None,
                 ignore_index: int = IGNORE_INDEX) -> SampleAudit:
    """Looks at one image and its label.

    Args:
        info: ``get_data_info`` of its dataset.
        num_classes: Number of classes.
        with_labels: Whether the label is wanted; without, only the image is looked at.
        loading: How its dataset reads files, by default as mmseg does.
        ignore_index: Training id of pixels that are not trained on.
    """
    loading = loading or Loading()
    findings, image, bits = _look_at_image(info['img_path'], info, loading)
    channels = None if image is None else 1 if image.ndim == 2 else image.shape[2]
    if not with_labels:
        return SampleAudit(findings, {}, False, channels, bits)
    found, counts, palette = _look_at_label(info, num_classes, loading, ignore_index, image)
    return SampleAudit(findings + found, counts, palette, channels, bits)


def _look_at_image(path: str, info: dict, loading: Loading) -> tuple[list[Finding], np.ndarray | None, int | None]:
    try:
        image, bits = loading.image(info)
    except DataFileError as error:
        return [Finding('missing' if isinstance(error, MissingFileError) else 'image', path, str(error))], None, None
    if bits is None or bits == ALL_BITS:
        return [], image, bits
    return [Finding(FEW_BITS, path, f'is a 16-bit file that uses {bits} of its bits, so it would be nearly black: say '
                    f'which numbers are black and white by value_range=(0, {2**bits - 1}) of LoadImageStrictly in its '
                    "pipeline, (0, 65535) if it is that dark, or save it with 8 bits")], image, bits


def _look_at_label(info: dict, num_classes: int, loading: Loading, ignore_index: int, image: np.ndarray | None
                   ) -> tuple[list[Finding], dict[int, int], bool]:
    path, palette = info.get('seg_map_path'), False
    if path is None:
        return [Finding('missing', info['img_path'], 'has no label: set data_prefix.seg_map_path')], {}, False
    try:
        label_HW, mode = loading.label(info)
        palette = mode == 'P'
        if image is not None:
            check_same_size(info['img_path'], image.shape[:2], path, label_HW.shape)
    except DataFileError as error:
        kind = ('missing' if isinstance(error, MissingFileError) else 'size' if 'must be equal' in str(error)
                else 'label')
        return [Finding(kind, path, str(error))], {}, palette
    numbers = count_ids(class_ids_as_trained(label_HW, info))
    counts = {int(class_id): int(numbers[class_id]) for class_id in np.flatnonzero(numbers)}
    return _find_ids(path, counts, num_classes, _notes(palette, info), ignore_index), counts, palette


def _notes(palette: bool, info: dict) -> str:
    return ((' (a palette PNG: its palette indices are taken as ids)' if palette else '')
            + (' after reduce_zero_label, which takes 1 off the numbers of the file' if info.get('reduce_zero_label')
               else ''))


def _find_ids(path: str, counts: dict[int, int], num_classes: int, notes: str, ignore_index: int) -> list[Finding]:
    outside = [class_id for class_id in counts if num_classes <= class_id != ignore_index]
    if outside:
        return [Finding('ids', path, f'has the ids {outside[:10]}{notes}, allowed are 0 to {num_classes - 1} and '
                        f'{ignore_index} (ignore): convert the labels to training ids, or list all classes in '
                        'metainfo.classes')]
    if set(counts) == {ignore_index}:
        return [Finding(ALL_IGNORE, path, f'every pixel is {ignore_index} (ignore): nothing can be learned from it. '
                        'Remove it with its image, or convert its labels')]
    return []
