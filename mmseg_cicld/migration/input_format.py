"""Normalisation and padding: steps of every old pipeline, one data preprocessor in mmseg 1.x."""
from typing import Any

from .old_part import OldPart

NEW = 'model.segmentor.data_preprocessor'


class InputFormat:
    """Collects what the pipelines say and refuses what differs between them."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def normalise(self, step: OldPart) -> None:
        """Reads a ``Normalize`` step."""
        step.take('type', NEW)
        self._once(step, 'mean', 'mean')
        self._once(step, 'std', 'std')
        if 'to_rgb' in step:
            self._once(step, 'to_rgb', 'bgr_to_rgb')
        else:
            self._values.setdefault('bgr_to_rgb', True)  # the old default

    def pad(self, step: OldPart) -> None:
        """Reads a ``Pad`` step of a training pipeline."""
        step.take('type', NEW)
        self._once(step, 'size', 'size')
        for key in ('pad_val', 'seg_pad_val'):
            if key in step:
                self._once(step, key, key)
        step.drop_if('size_divisor', (None, ), 'there is none', 'training images are padded to a size')

    def data_preprocessor(self, crop_size: tuple[int, int] | None) -> dict:
        """Returns the data preprocessor; images are padded to the crop if no pipeline says otherwise."""
        values = dict(mean=None, std=None, bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size=crop_size) | self._values
        return dict(type='SegDataPreProcessor', **values)

    @property
    def complete(self) -> bool:
        """Whether a pipeline said how images are normalised."""
        return 'mean' in self._values

    def _once(self, step: OldPart, key: str, name: str) -> None:
        value = step.need(key, f'{NEW}.{name}')
        value = (tuple if name == 'size' else list)(value) if isinstance(value, (list, tuple)) else value
        if self._values.setdefault(name, value) != value:
            step.refuse(key, f'{value!r} differs from {self._values[name]!r} in another pipeline; mmseg 1.x has one '
                             'data preprocessor for all')
