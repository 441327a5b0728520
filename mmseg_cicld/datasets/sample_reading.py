"""Reads a sample by the steps of its pipeline: the crop is drawn on the label, the image resized where it is kept."""
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import RandomResize
from mmengine.dataset import Compose
from mmseg.datasets.transforms import RandomCrop, Resize

from .file_reading import DataFileError
from .image_region import Box, count_ids, resized_region

IMAGE_LOADERS, LABEL_LOADERS = ('LoadImageStrictly', 'LoadImageFromFile'), ('LoadLabelStrictly', 'LoadAnnotations')
MARKS = ('LoadPseudoLabelMargins',)
DETERMINISTIC = (*IMAGE_LOADERS, *LABEL_LOADERS, *MARKS, 'Resize')
# They leave the pixels of each class as many as they are, as _is_known makes sure, and do not write into what they get.
KNOWN = ('RandomFlip', 'Pad', 'PhotoMetricDistortion', 'PackUDAInputs')


@dataclass(frozen=True)
class Draw:
    """One augmentation of a sample: drawn, but not yet carried out on the image.

    Args:
        finish: Gives the sample. Draws what is left from the global random streams, so it belongs into the block that
            seeded them.
        counts: Pixels of each number in the label of the sample, where there are any; None if only the sample shows them.
    """

    finish: Callable[[], dict]
    counts: dict[int, int] | None = None


class StepwisePlan:
    """Any pipeline, step by step. What draws nothing runs once, however often a crop of the sample is drawn.

    Args:
        steps: The steps of the pipeline.
    """

    def __init__(self, steps: Sequence[Any]) -> None:
        first = next((place for place, step in enumerate(steps) if type(step).__name__ not in DETERMINISTIC), len(steps))
        self.fixed, self.drawn = steps[:first], steps[first:]

    def loaded(self, info: dict) -> dict:
        """Runs the steps that draw nothing, see :meth:`CropPlan.loaded`."""
        return Compose(self.fixed)(info)

    def draw(self, results: dict) -> Draw:
        """Leaves all others to :meth:`Draw.finish`, see :meth:`CropPlan.draw`."""
        return Draw(lambda: Compose(self.drawn)(copy.deepcopy(results)))


@dataclass(frozen=True)
class CropPlan:
    """A pipeline that loads, resizes and crops, in its parts.

    It draws what the pipeline step by step draws and gives the same samples, bit for bit. What it leaves out is work on
    pixels that the crop leaves out, or that a crop with too little of a class would have shown.

    Args:
        load: Steps that read files and mark pixels of the image.
        resize: What resizes, if anything does.
        crop: What crops.
        rest: Steps after it.
        rest_is_known: Whether ``rest`` leaves the pixels of each class as many as they are and writes into no array.
    """

    load: Sequence[Callable[[dict], dict]]
    resize: Resize | RandomResize | None
    crop: RandomCrop
    rest: Sequence[Callable[[dict], dict]]
    rest_is_known: bool

    @classmethod
    def of(cls, steps: Sequence[Any], ignore_index: int) -> 'CropPlan | None':
        """Takes the steps of a pipeline apart; None if they are not load, resize, crop, in this order."""
        known = IMAGE_LOADERS + LABEL_LOADERS + MARKS
        split = next((place for place, step in enumerate(steps) if type(step).__name__ not in known), len(steps))
        load, rest = steps[:split], steps[split:]
        resize = None
        if rest and _resizes(rest[0]):
            resize, rest = rest[0], rest[1:]
        if not load or type(load[0]).__name__ not in IMAGE_LOADERS or not rest or type(rest[0]) is not RandomCrop:
            return None
        return cls(load, resize, rest[0], rest[1:], all(_is_known(step, ignore_index) for step in rest[1:]))

    @staticmethod
    def takes(results: dict) -> bool:
        """Whether what was loaded is as the loaders of this package give it: 8-bit numbers, one a pixel in a label."""
        label = results.get('gt_seg_map')
        return results['img'].dtype == np.uint8 and (label is None or (label.dtype == np.uint8 and label.ndim == 2))

    def loaded(self, info: dict) -> dict:
        """Loads the files of a sample: what :meth:`draw` takes, any number of times.

        Args:
            info: ``get_data_info`` of its dataset.
        """
        results = Compose(self.load)(info)
        return self._resized(results) if isinstance(self.resize, Resize) else results

    def whole(self, info: dict) -> dict:
        """Loads a sample as :meth:`loaded` does, with the image in the size that it is cropped from.

        Raises:
            DataFileError: If it holds something else than 8-bit numbers, which no crop is taken of here.
        """
        results = self.loaded(info)
        if not self.takes(results):
            raise DataFileError(f'{info["img_path"]} is loaded as {results["img"].dtype}, or its label not as 8-bit class '
                                'ids: use LoadImageStrictly and LoadLabelStrictly')
        if isinstance(self.resize, Resize):
            size = results['img_shape'][:2]
            results['img'] = resized_region(results['img'], size, (slice(0, size[0]), slice(0, size[1])))
        return results

    def loaded_from(self, info: dict, image: np.ndarray, label: np.ndarray | None, file_shape: tuple[int, int]) -> dict:
        """Gives what :meth:`loaded` gives, of arrays that :meth:`whole` gave once."""
        height, width = file_shape
        results = dict(info, img=np.broadcast_to(np.uint8(0), (height, width)), img_shape=(height, width),
                       ori_shape=(height, width))
        for step in self.load:
            results = step(results) if type(step).__name__ in MARKS else results
        results = self._resized(results) if isinstance(self.resize, Resize) else results
        if label is not None:
            results = dict(results, gt_seg_map=label, seg_fields=[*results.get('seg_fields', ()), 'gt_seg_map'])
        return dict(results, img=image)

    def draw(self, results: dict) -> Draw:
        """Draws a crop from the global random streams.

        Args:
            results: Of :meth:`loaded`; stays as it is.
        """
        if isinstance(self.resize, RandomResize):
            results = self._resized(results)
        label = results.get('gt_seg_map')
        box = draw_box(self.crop, results['img_shape'][:2], results)
        counts = _present(count_ids(label[box])) if label is not None and self.rest_is_known else None
        return Draw(lambda: Compose(self.rest)(_cropped(results, box, self.rest_is_known)), counts)

    def _resized(self, results: dict) -> dict:
        """Resizes the label and says the new size; the image stays, see :func:`_cropped`."""
        assert self.resize is not None
        # Without an image the step resizes labels alone; a random one draws its scale first.
        resized = self.resize({key: value for key, value in results.items() if key != 'img'})
        step = self.resize.resize if isinstance(self.resize, RandomResize) else self.resize
        height, width = results['ori_shape']
        new_w, new_h = (mmcv.rescale_size((width, height), resized['scale']) if step.keep_ratio else resized['scale'])
        return dict(resized, img=results['img'], img_shape=(new_h, new_w), keep_ratio=step.keep_ratio,
                    scale_factor=(new_w / width, new_h / height))


def _present(counts: np.ndarray) -> dict[int, int]:
    return {int(number): int(counts[number]) for number in np.flatnonzero(counts)}


def draw_box(step: RandomCrop, image_hw: tuple[int, int], results: dict) -> Box:
    """Draws the crop that mmseg's ``RandomCrop`` draws, from the same random stream.

    Args:
        step: With its size and the share that one class may have.
        image_hw: Height and width of the image.
        results: With ``gt_seg_map``, uint8 [H, W], if there is such a share.
    """
    box = _any_box(step, image_hw)
    if step.cat_max_ratio < 1:
        for _ in range(10):
            counts = count_ids(results['gt_seg_map'][box])
            counts[step.ignore_index] = 0
            if (counts > 0).sum() > 1 and counts.max() / counts.sum() < step.cat_max_ratio:
                break
            box = _any_box(step, image_hw)
    return box


def _any_box(step: RandomCrop, image_hw: tuple[int, int]) -> Box:
    top, left = (np.random.randint(0, max(edge - wanted, 0) + 1) for edge, wanted in zip(image_hw, step.crop_size))
    return slice(top, top + step.crop_size[0]), slice(left, left + step.crop_size[1])


def _cropped(results: dict, box: Box, as_views: bool) -> dict:
    """Takes what a crop keeps, without copies where nobody writes into it."""
    own = np.asarray if as_views else np.array
    cropped = {key: value if isinstance(value, np.ndarray) else copy.deepcopy(value) for key, value in results.items()}
    cropped['img'] = own(resized_region(results['img'], results['img_shape'][:2], box))
    cropped['img_shape'] = cropped['img'].shape[:2]
    for key in results.get('seg_fields', ()):
        cropped[key] = own(results[key][box])
    return cropped


def _resizes(step: Any) -> bool:
    """Whether a step resizes as :func:`resized_region` does."""
    inner = step.resize if type(step) is RandomResize else step
    return (type(inner) is Resize and inner.scale is not None and inner.backend == 'cv2'
            and inner.interpolation == 'bilinear')


def _is_known(step: Any, ignore_index: int) -> bool:
    name = type(step).__name__
    if name == 'RandomFlip':
        return step.swap_seg_labels is None
    if name == 'Pad':
        return step.padding_mode == 'constant' and step.pad_val.get('seg', 255) == ignore_index
    return name in KNOWN
