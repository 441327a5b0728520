"""Loading transforms that refuse what the stock ones let through."""
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ..domain import class_ids_as_trained
from ..file_reading import COLOR_TYPES, DataFileError, check_same_size, read_image, read_label


@TRANSFORMS.register_module()
class LoadImageStrictly(BaseTransform):
    """Loads ``results['img_path']`` as 8-bit image; in place of ``LoadImageFromFile``.

    A missing, empty, truncated or undecodable file is an error that names it, and so is one with several pages, with
    bands that are no colours, or with floating-point numbers and no ``value_range``. 12-bit data in 16-bit files would
    be nearly black: the audit before training asks for their ``value_range``.

    Args:
        color_type: ``'color'``: BGR; grey images get three channels, transparency is dropped. ``'grayscale'``: one
            channel. ``'unchanged'``: as many as the files have, for example four.
        value_range: The numbers in the files that become 0 and 255, such as (0, 4095) for 12-bit data or (0, 1) for
            floating-point reflectance. None: all numbers that the 8 or 16 bits of a file can hold.
        backend_args: Storage of the files, see ``mmengine.fileio``.

    Raises:
        ValueError: If an argument is not allowed.
    """

    def __init__(self, color_type: str = 'color', value_range: tuple[float, float] | None = None,
                 backend_args: dict | None = None) -> None:
        if color_type not in COLOR_TYPES:
            raise ValueError(f'color_type={color_type!r} of LoadImageStrictly: allowed are {", ".join(COLOR_TYPES)}')
        if value_range is not None and not (len(value_range) == 2 and value_range[0] < value_range[1]):
            raise ValueError(f'value_range={value_range} of LoadImageStrictly: give the numbers of black and white, '
                             'the first below the second')
        self.color_type, self.value_range, self.backend_args = color_type, value_range, backend_args

    def transform(self, results: dict) -> dict:
        """Adds ``img`` (uint8 [H, W, C], or [H, W] if grey), ``img_shape`` and ``ori_shape`` (height, width)."""
        results['img'] = read_image(results['img_path'], self.backend_args, self.color_type, self.value_range)
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadLabelStrictly(BaseTransform):
    """Loads ``results['seg_map_path']`` as training ids, uint8 [H, W]; in place of mmseg's ``LoadAnnotations``.

    Coloured labels, numbers above 255, damaged files, and labels of another size than the image file are errors
    that name the file; the stock transform wraps numbers above 255 and takes colours as they are.

    Args:
        backend_args: Storage of the files, see ``mmengine.fileio``.
    """

    def __init__(self, backend_args: dict | None = None) -> None:
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Adds ``gt_seg_map`` and its name to ``seg_fields``."""
        if results.get('seg_map_path') is None:
            raise DataFileError(f'{results["img_path"]} has no label file: set data_prefix.seg_map_path of its '
                                'dataset, or remove LoadLabelStrictly from the pipeline of an unlabelled dataset')
        label = read_label(results['seg_map_path'], self.backend_args)
        if 'ori_shape' in results:
            check_same_size(results['img_path'], results['ori_shape'], results['seg_map_path'], label.shape)
        results['gt_seg_map'] = class_ids_as_trained(label, results)
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results


@TRANSFORMS.register_module()
class LoadPseudoLabelMargins(BaseTransform):
    """Marks the borders of a target image where pseudo-labels are not to be trusted (image frame, own bonnet).

    Adds ``valid_pseudo_mask`` (uint8 [H, W], 1 = usable) as a segmentation field, so it is resized, cropped and
    flipped with the image. Put it right after the image is loaded and pack with :class:`PackUDAInputs`.
    Sources: HRDA (Hoyer et al., ECCV 2022), published implementation: ``margins=(30, 240, 30, 30)`` for Cityscapes;
    VFM-UDA++ (Englert and Dubbelman, ICCVW 2025): ``shares=(0.03, 0.25, 0.03, 0.03)`` for images of any size.

    Args:
        margins: Rows at the top, rows at the bottom, columns left, columns right, in pixels of the image file.
        shares: The same as shares of its height and width, rounded down to pixels. One of the two.

    Raises:
        ValueError: If neither or both are given, or one is out of range.
    """

    def __init__(self, margins: tuple[int, int, int, int] | None = None,
                 shares: tuple[float, float, float, float] | None = None) -> None:
        given = [values for values in (margins, shares) if values is not None]
        if len(given) != 1:
            raise ValueError('LoadPseudoLabelMargins takes margins in pixels or shares of the image: give one of them')
        if margins is not None and (len(margins) != 4 or min(margins) < 0):
            raise ValueError(f'margins={margins}: give four numbers of pixels (top, bottom, left, right), 0 or more')
        if shares is not None and (len(shares) != 4 or min(shares) < 0 or max(shares) >= 1):
            raise ValueError(f'shares={shares}: give four shares of the image (top, bottom, left, right) in [0, 1)')
        self.values, self.of_image = given[0], shares is not None

    def transform(self, results: dict) -> dict:
        """Adds the mask."""
        height, width = results['img'].shape[:2]
        sides = (height, height, width, width) if self.of_image else (1, 1, 1, 1)
        margins = [int(value * side) for value, side in zip(self.values, sides)]
        top, bottom, left, right = margins
        if top + bottom >= height or left + right >= width:
            raise DataFileError(f'the margins {tuple(margins)} (top, bottom, left, right) of LoadPseudoLabelMargins '
                                f'leave nothing of {results["img_path"]} ({width}x{height}): lower them')
        mask_HW = np.zeros((height, width), np.uint8)
        mask_HW[top:height - bottom, left:width - right] = 1
        results['valid_pseudo_mask'] = mask_HW
        results.setdefault('seg_fields', []).append('valid_pseudo_mask')
        return results
