"""From what a data loader gives to the batch of a domain, padding known.

Shape suffixes: B images, C channels, H and W height and width.
"""
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..finite_losses import image_files
from .step_context import DomainBatch


def domain_batch(data: dict[str, Any] | None, preprocessor: nn.Module) -> DomainBatch | None:
    """Preprocesses the images of a domain and puts its maps together.

    Args:
        data: ``inputs`` and ``data_samples`` of one domain, None without it.
        preprocessor: The data preprocessor of the segmentor, which may pad images.
    """
    if data is None:
        return None
    data = preprocessor(data, True)
    samples: Sequence[SegDataSample] = data['data_samples']
    size = tuple(data['inputs'].shape[2:])
    labels_B1HW = _maps(samples, 'gt_sem_seg', size)
    return DomainBatch(
        images_BCHW=data['inputs'],
        labels_BHW=None if labels_B1HW is None else labels_B1HW[:, 0].long(),
        valid_B1HW=_maps(samples, 'valid_pseudo_mask', size),
        files=image_files(samples),
        real_BHW=_real_pixels(samples, data['inputs']))


def check_padding(batches: Sequence[dict[str, Any] | None], preprocessor: nn.Module) -> None:
    """Refuses a first batch whose images have one size, smaller than that which the preprocessor pads them to.

    That is no data with small images here and there, but a crop size changed in one place: mmseg would pad without a
    word and train on images several times as large. All processes decide together.

    Args:
        batches: Raw batches of the domains.
        preprocessor: The data preprocessor of the segmentor.

    Raises:
        ValueError: If all images of all processes have the same size, smaller in height and width.
    """
    size = getattr(preprocessor, 'size', None)
    sizes = torch.tensor([image.shape[-2:] for batch in batches if batch is not None for image in batch['inputs']])
    if size is None or not len(sizes):
        return
    bounds = torch.cat([sizes.amax(dim=0), -sizes.amin(dim=0)]).to(preprocessor.device)
    all_reduce(bounds, op='max')
    height, width, *smallest = bounds.tolist()
    if smallest == [-height, -width] and height < size[0] and width < size[1]:
        raise ValueError(f'all images of the batch are {height} x {width}, but model.segmentor.data_preprocessor.size='
                         f'{tuple(size)} would pad them: set it to the crop size of the training pipelines, '
                         f'({height}, {width})')


def _maps(samples: Sequence[SegDataSample], key: str, size: tuple[int, int]) -> Tensor | None:
    if key not in samples[0]:
        return None
    maps = [sample.get(key).data for sample in samples]
    # mmseg pads the labels with the images, but no masks of ours: what is added may not be used.
    return torch.stack([F.pad(part, (0, size[1] - part.shape[-1], 0, size[0] - part.shape[-2])) for part in maps])


def _real_pixels(samples: Sequence[SegDataSample], images_BCHW: Tensor) -> Tensor | None:
    padding = [tuple(sample.metainfo.get('padding_size', (0, 0, 0, 0))) for sample in samples]
    if not any(map(any, padding)):
        return None
    batch, _, height, width = images_BCHW.shape
    real_BHW = torch.zeros(batch, height, width, dtype=torch.bool, device=images_BCHW.device)
    for real_HW, (left, right, top, bottom) in zip(real_BHW, padding):
        real_HW[top:height - bottom, left:width - right] = True
    return real_BHW
