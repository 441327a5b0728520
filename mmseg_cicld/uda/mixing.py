"""ClassMix: the pixels of half the source classes are pasted onto the target image (Olsson et al., WACV 2021; DACS).

All on the device and without reading a value back. Shape suffixes: B images, K=256 label ids, H and W size.
"""
from typing import NamedTuple

import torch
from mmengine.dist import all_reduce
from torch import Tensor

NUM_IDS = 256


class MixedBatch(NamedTuple):
    """Images float [B, C, H, W], labels int64 [B, H, W], weights float [B, H, W], mask bool [B, H, W] (source)."""

    images_BCHW: Tensor
    labels_BHW: Tensor
    weights_BHW: Tensor
    mask_BHW: Tensor


def present_ids(labels_BHW: Tensor) -> Tensor:
    """Tells which label ids occur in the batch of all processes, the ignore id among them.

    Returns:
        bool [256].
    """
    present_K = torch.zeros(NUM_IDS, dtype=torch.uint8, device=labels_BHW.device)
    present_K.scatter_(0, labels_BHW.flatten(), 1)
    all_reduce(present_K, op='max')
    return present_K.bool()


def choose_classes(present_K: Tensor, scores_BK: Tensor) -> Tensor:
    """Chooses ceil(n/2) of the n present ids for each image, those with the highest scores.

    Args:
        present_K: bool [256] of :func:`present_ids`.
        scores_BK: Independent uniform numbers in [0, 1), a row an image.

    Returns:
        bool [B, 256].
    """
    ranks_BK = scores_BK.masked_fill(~present_K, -1).argsort(dim=1, descending=True).argsort(dim=1)
    return present_K & (ranks_BK < (present_K.sum() + 1) // 2)


def mix_masks(labels_BHW: Tensor, chosen_BK: Tensor) -> Tensor:
    """Returns bool [B, H, W], true where the source label is one of the image's chosen ids."""
    batch = torch.arange(len(labels_BHW), device=labels_BHW.device)[:, None, None]
    return chosen_BK[batch, labels_BHW]


def class_mix(mask_BHW: Tensor, source: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor, Tensor]) -> MixedBatch:
    """Pastes the source pixels under the mask onto the target.

    Args:
        mask_BHW: bool, true = take the source pixel.
        source: Images [B, C, H, W] and labels [B, H, W].
        target: Images, pseudo-labels and their weights [B, H, W].

    Returns:
        The mixed batch; its weight is 1 under the mask, also where an ignored label was pasted.

    Raises:
        ValueError: If source and target differ in size.
    """
    if source[0].shape != target[0].shape:
        raise ValueError(f'source batch {tuple(source[0].shape)} and target batch {tuple(target[0].shape)} cannot be '
                         'mixed: give both pipelines the same crop size')
    return MixedBatch(
        images_BCHW=torch.where(mask_BHW[:, None], source[0], target[0]),
        labels_BHW=torch.where(mask_BHW, source[1], target[1]),
        weights_BHW=target[2].masked_fill(mask_BHW, 1),
        mask_BHW=mask_BHW)
