"""Data pipelines, transform by transform; normalisation and padding become one data preprocessor."""
from collections.abc import Callable
from typing import Any

from .accounting import OldPart

_PREPROCESSOR = 'model.segmentor.data_preprocessor'
_PACKED = ('img', 'gt_semantic_seg', 'valid_pseudo_mask')
Steps = list[dict]
# The data preprocessor normalises and pads after the pipeline: what may not come after them in the old one.
_ORDER = dict(PhotoMetricDistortion={'Normalize', 'Pad'}, Resize={'Pad'}, RandomCrop={'Pad'}, RandomFlip={'Pad'})


class InputFormat:
    """Collects what the pipelines say and refuses what differs between them."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def normalise(self, step: OldPart) -> None:
        """Reads a ``Normalize`` step."""
        step.take('type', _PREPROCESSOR)
        self._once(step, 'mean', 'mean')
        self._once(step, 'std', 'std')
        if 'to_rgb' in step:
            self._once(step, 'to_rgb', 'bgr_to_rgb')
        else:
            self._values.setdefault('bgr_to_rgb', True)  # the old default

    def pad(self, step: OldPart) -> None:
        """Reads a ``Pad`` step of a training pipeline."""
        step.take('type', _PREPROCESSOR)
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
        value = step.need(key, f'{_PREPROCESSOR}.{name}')
        value = (tuple if name == 'size' else list)(value) if isinstance(value, (list, tuple)) else value
        if self._values.setdefault(name, value) != value:
            step.refuse(key, f'{value!r} differs from {self._values[name]!r} in another pipeline; mmseg 1.x has one '
                             'data preprocessor for all')


class TrainPipeline:
    """Migrates the training pipeline of one domain.

    Args:
        new: Name of the new pipeline, for the report.
        input_format: Takes normalisation and padding.
        labelled: Whether labels are loaded: those of the target are never used.
        margins: Rows above and below, columns left and right without pseudo-labels; None for no such mask.
    """

    def __init__(self, new: str, input_format: InputFormat, labelled: bool,
                 margins: tuple[int, ...] | None = None) -> None:
        self.new, self.input_format, self.labelled, self.margins = new, input_format, labelled, margins
        self.crop_size: tuple[int, int] | None = None
        self._resized = False
        self._steps: dict[str, Callable[[OldPart, str], Steps]] = dict(
            LoadImageFromFile=self._load_image, LoadAnnotations=self._load_label, Resize=self._resize,
            RandomCrop=self._crop, RandomFlip=self._flip, PhotoMetricDistortion=_photo_metric_distortion,
            Normalize=self._normalise, Pad=self._pad, DefaultFormatBundle=self._format, ImageToTensor=self._format,
            Collect=self._collect)

    def migrate(self, steps: list[OldPart]) -> Steps:
        """Returns the new pipeline."""
        result: Steps = []
        done: set[str] = set()
        for step in steps:
            later = {'Normalize', 'Pad'} & done & _ORDER.get(step.kind, set())
            if step.kind not in self._steps:
                step.refuse_type(f'{step.look("type")!r} is no transform that this tool knows')
            elif later:
                step.refuse_type(f'{step.kind} comes after {min(later)}, which is done last here')
            else:
                result += self._steps[step.kind](step, f'{self.new}[{len(result)}]')
            done.add(step.kind)
        return result

    def _load_image(self, step: OldPart, new: str) -> Steps:
        step.take('type', f'{new}.type')
        if self.margins is None:
            return [dict(type='LoadImageStrictly')]
        return [dict(type='LoadImageStrictly'), dict(type='LoadPseudoLabelMargins', margins=self.margins)]

    def _load_label(self, step: OldPart, new: str) -> Steps:
        if not self.labelled:
            step.drop_each(('type', 'reduce_zero_label'), 'labels of the target are never used in training')
            return []
        step.take('type', f'{new}.type')
        step.drop('reduce_zero_label', 'is a matter of the dataset')
        return [dict(type='LoadLabelStrictly')]

    def _resize(self, step: OldPart, new: str) -> Steps:
        if self._resized:
            step.refuse_type('a second Resize in one pipeline')
            return []
        self._resized = True
        step.drop('override_scale', 'has no effect on the first Resize of a pipeline')
        return [migrate_resize(step, new)]

    def _crop(self, step: OldPart, new: str) -> Steps:
        step.take('type', f'{new}.type')
        self.crop_size = step.numbers('crop_size', f'{new}.crop_size', 2)
        crop = dict(type='RandomCrop', crop_size=self.crop_size)
        if self.labelled and 'cat_max_ratio' in step:
            crop['cat_max_ratio'] = step.take('cat_max_ratio', f'{new}.cat_max_ratio')
        step.drop('cat_max_ratio', 'chose the crop by the labels of the target, which adaptation may not see')
        step.drop_if('ignore_index', (255, ), 'is the default', 'labels of this package are ignored at 255')
        return [crop]

    def _flip(self, step: OldPart, new: str) -> Steps:
        step.take('type', f'{new}.type')
        key = 'flip_ratio' if 'flip_ratio' in step else 'prob'
        flip = dict(type='RandomFlip', prob=step.number(key, f'{new}.prob'))
        if step.look('direction', 'horizontal') != 'horizontal':
            flip['direction'] = step.look('direction')
        step.take('direction', f'{new}.direction')
        return [flip]

    def _normalise(self, step: OldPart, new: str) -> Steps:
        self.input_format.normalise(step)
        return []

    def _pad(self, step: OldPart, new: str) -> Steps:
        self.input_format.pad(step)
        return []

    def _format(self, step: OldPart, new: str) -> Steps:
        step.drop('type', 'PackUDAInputs and the data preprocessor make tensors')
        step.drop_if('keys', (['img'], ('img', )), 'is always packed', 'only images')
        return []

    def _collect(self, step: OldPart, new: str) -> Steps:
        step.take('type', f'{new}.type')
        keys = step.look('keys')
        if not isinstance(keys, (list, tuple)) or any(key not in _PACKED for key in keys):
            step.refuse('keys', f'{keys!r}: PackUDAInputs packs images, labels and the mask of margins')
        step.take('keys', f'{new} (packs what there is)')
        return [dict(type='PackUDAInputs')]


def migrate_resize(step: OldPart, new: str) -> dict:
    """Migrates a ``Resize``: one scale, a range of ratios, a range of scales, or a choice of scales."""
    step.take('type', f'{new}.type')
    keep_ratio = step.take('keep_ratio', f'{new}.keep_ratio', True)
    scales = _scales(step, f'{new}.scale')
    mode, ratio_range = step.look('multiscale_mode', 'range'), step.look('ratio_range')
    if ratio_range is not None and len(scales) == 1:
        step.drop('multiscale_mode', 'has no effect with a ratio_range')
        ratio_range = step.numbers('ratio_range', f'{new}.ratio_range', 2)
        return dict(type='RandomResize', scale=scales[0], ratio_range=ratio_range, keep_ratio=keep_ratio)
    step.drop_if('ratio_range', (None, ), 'there is none', 'goes with a single img_scale only')
    if len(scales) == 1:
        step.drop('multiscale_mode', 'has no effect with a single img_scale')
        return dict(type='Resize', scale=scales[0], keep_ratio=keep_ratio)
    step.take('multiscale_mode', f'{new}.type')
    if mode == 'value':
        return dict(type='RandomChoiceResize', scales=scales, keep_ratio=keep_ratio)
    if mode != 'range' or len(scales) != 2:
        step.refuse('img_scale', f'{scales!r} with multiscale_mode={mode!r}')
    return dict(type='RandomResize', scale=scales, keep_ratio=keep_ratio)


def migrate_test_pipeline(steps: list[OldPart], new: str, input_format: InputFormat) -> Steps:
    """Migrates a pipeline of validation or test: returns what stands between loading and packing."""
    result: Steps = []
    for step in steps:
        if step.kind == 'LoadImageFromFile':
            step.take('type', f'{new}[0].type')
        elif step.kind == 'MultiScaleFlipAug':
            result += _single_scale(step, f'{new}[1]', input_format)
        else:
            step.refuse_type(f'{step.look("type")!r}: expected are LoadImageFromFile and MultiScaleFlipAug')
    return result


def _scales(step: OldPart, new: str) -> list[tuple[int, int]]:
    value = step.look('img_scale')
    if isinstance(value, (list, tuple)) and value and all(_is_pair(scale) for scale in value):
        step.take('img_scale', new)
        return [tuple(scale) for scale in value]
    return [step.numbers('img_scale', new, 2)]  # JSON has no tuples: a list of two numbers is one scale


def _is_pair(value: object) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(side, int) for side in value)


def _photo_metric_distortion(step: OldPart, new: str) -> Steps:
    keys = ('type', 'brightness_delta', 'contrast_range', 'saturation_range', 'hue_delta')
    return [{key: step.take(key, f'{new}.{key}') for key in keys if key in step}]


def _single_scale(step: OldPart, new: str, input_format: InputFormat) -> Steps:
    """Reads a ``MultiScaleFlipAug`` that neither flips nor scales."""
    tta = 'test time augmentation is an option of tools/test.py (--tta), not part of the pipeline'
    step.drop('type', 'is off: one scale, no flip')
    step.drop_if('flip', (False, ), 'is off', tta)
    step.drop_if('img_ratios', (None, 1.0, [1.0], (1.0, )), 'is off', tta)
    step.drop('flip_direction', 'there is no flip')
    result: Steps = []
    for inner in step.parts('transforms') if 'transforms' in step else []:
        if inner.kind == 'Resize':
            result.append(_test_resize(step, inner, new))
        elif inner.kind == 'Normalize':
            input_format.normalise(inner)
        elif inner.kind == 'RandomFlip':
            inner.drop_each(('type', 'prob', 'flip_ratio', 'direction'), 'the flip of MultiScaleFlipAug is off')
        elif inner.kind in ('ImageToTensor', 'Collect', 'DefaultFormatBundle'):
            _packing(inner)
        else:
            inner.refuse_type(f'{inner.look("type")!r} is no transform that this tool knows in MultiScaleFlipAug')
    if not result:
        step.drop('img_scale', 'there is no Resize')
    return result


def _test_resize(outer: OldPart, inner: OldPart, new: str) -> dict:
    own = inner.look('override_scale', False) and 'img_scale' in inner
    inner.drop('override_scale', 'the inner img_scale is taken' if own else 'has no effect without its own img_scale')
    owner = inner if own else outer
    if own:
        outer.drop('img_scale', 'the inner Resize overrides it')
    inner.take('type', f'{new}.type')
    scales = _scales(owner, f'{new}.scale')
    if len(scales) > 1:
        owner.refuse('img_scale', f'{scales!r}: test time augmentation is an option of tools/test.py (--tta)')
    return dict(type='Resize', scale=scales[0], keep_ratio=inner.take('keep_ratio', f'{new}.keep_ratio', True))


def _packing(step: OldPart) -> None:
    step.drop('type', 'PackSegInputs packs what there is')
    step.drop_if('keys', (['img'], ('img', )), 'is always packed', 'only images are known in tests')
