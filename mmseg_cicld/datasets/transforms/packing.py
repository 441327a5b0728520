"""Packing of a sample for training."""
import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from ..image_region import channels_first


@TRANSFORMS.register_module()
class PackUDAInputs(PackSegInputs):
    """mmseg's ``PackSegInputs`` that also packs which target pixels can carry pseudo-labels.

    Args:
        crop_size: Height and width that the model pads images to. If given, every sample gets a mask of this size
            with 0 in the part that will be padded: set it where images may be smaller than the crop. None: only
            a mask from ``LoadPseudoLabelMargins`` is packed, with the size of the image.
        **kwargs: ``meta_keys`` of ``PackSegInputs``.
    """

    def __init__(self, crop_size: tuple[int, int] | None = None, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.crop_size = crop_size

    def transform(self, results: dict) -> dict:
        """Returns ``inputs`` and ``data_samples`` with ``valid_pseudo_mask`` (uint8 [1, H, W], 1 = usable)."""
        image = results['img']
        if image.dtype == np.uint8:
            # The parent takes memory that lies as it wants as it is; its own way there is slow. It is no view of a cache.
            results['img'] = channels_first(image.reshape(*image.shape[:2], -1)).transpose(1, 2, 0)
        packed = super().transform(results)
        mask_HW = results.get('valid_pseudo_mask')
        image_hw = results['img'].shape[:2]
        if mask_HW is None and self.crop_size is None:
            return packed
        if mask_HW is None:
            mask_HW = np.ones(image_hw, np.uint8)
        height, width = (max(a, b) for a, b in zip(self.crop_size or image_hw, image_hw))
        # Transforms that pad or rotate fill with other numbers than 1, or leave the mask smaller than the image.
        usable = np.zeros((1, height, width), np.uint8)
        usable[0, :mask_HW.shape[0], :mask_HW.shape[1]] = mask_HW == 1
        packed['data_samples'].valid_pseudo_mask = PixelData(data=torch.from_numpy(usable))
        return packed
