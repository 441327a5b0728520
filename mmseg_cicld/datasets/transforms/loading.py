"""Loading transforms that refuse what the stock ones let through."""
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ..domain import class_ids_as_trained
from ..file_reading import DataFileError, check_same_size, read_image, read_label


@TRANSFORMS.register_module()
class LoadImageStrictly(BaseTransform):
    """Loads ``results['img_path']`` as uint8 [H, W, 3] in BGR order; in place of ``LoadImageFromFile``.

    A missing, empty, truncated or undecodable file is an error that names it. Grey images get three channels,
    transparency is dropped, 16-bit images become 8-bit.

    Args:
        backend_args: Storage of the files, see ``mmengine.fileio``.
    """

    def __init__(self, backend_args: dict | None = None) -> None:
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Adds ``img``, ``img_shape`` and ``ori_shape`` (height, width)."""
        results['img'] = read_image(results['img_path'], self.backend_args)
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
    Source: HRDA (Hoyer et al., ECCV 2022), published implementation: (30, 240, 30, 30) for Cityscapes.

    Args:
        margins: Rows at the top, rows at the bottom, columns left, columns right, in pixels of the image file.
    """

    def __init__(self, margins: tuple[int, int, int, int]) -> None:
        if len(margins) != 4 or min(margins) < 0:
            raise ValueError(f'margins={margins}: give four numbers of pixels (top, bottom, left, right), 0 or more')
        self.margins = tuple(margins)

    def transform(self, results: dict) -> dict:
        """Adds the mask."""
        height, width = results['img'].shape[:2]
        top, bottom, left, right = self.margins
        if top + bottom >= height or left + right >= width:
            raise DataFileError(f'the margins {self.margins} (top, bottom, left, right) of LoadPseudoLabelMargins '
                                f'leave nothing of {results["img_path"]} ({width}x{height}): lower them')
        mask_HW = np.zeros((height, width), np.uint8)
        mask_HW[top:height - bottom, left:width - right] = 1
        results['valid_pseudo_mask'] = mask_HW
        results.setdefault('seg_fields', []).append('valid_pseudo_mask')
        return results
