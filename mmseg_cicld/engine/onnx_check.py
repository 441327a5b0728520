"""Compares an ONNX file with the torch network that it was made of: same labels, or no file."""
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor

TOLERANCE = 1e-3
"""Largest difference of logits, as a share of the largest one; float32 gives 1e-6 to 1e-5, wrong operations 1e-2."""
FEWEST_SIZES = 3


class OnnxExportError(RuntimeError):
    """A network that ONNX cannot hold, or an environment without onnx; the message says what to change."""


class Prediction(NamedTuple):
    """Labels [H, W] and scores [C, H, W] of one image: logits, or probabilities of a binary head."""

    labels_HW: Tensor
    scores_CHW: Tensor


def check_against_torch(data: bytes, segmentor: BaseSegmentor, sizes: Sequence[tuple[int, int]]) -> list[str]:
    """Compares predictions for images of several sizes.

    Labels have to be the same, but for pixels whose two best classes are closer than the tolerance. Sizes that the
    network itself refuses have to fail in the file too.

    Args:
        data: The ONNX file.
        segmentor: The network; its own ``test_step`` is the reference.
        sizes: Heights and widths.

    Returns:
        A line for each size.

    Raises:
        OnnxExportError: If a size gives another prediction, or too few sizes can be compared.
    """
    session = _session(data)
    lines, compared = [], 0
    for size in sizes:
        image = example_image(size)
        found, wanted = _of_file(session, image), _of_torch(segmentor, image)
        if wanted is None and found is None:
            lines.append(f'{size[0]} x {size[1]}: refused by torch and by the file')
            continue
        lines.append(f'{size[0]} x {size[1]}: {_compare(found, wanted, size)}')
        compared += 1
    if compared < min(FEWEST_SIZES, len(sizes)):
        raise OnnxExportError(f'the network takes {compared} of the sizes {list(sizes)}: too few to compare')
    return lines


def example_image(size: tuple[int, int]) -> Tensor:
    """Returns a picture of coarse and fine noise, uint8 [3, H, W], always the same for a size."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 5, 7, generator=generator) * 200
    coarse = F.interpolate(coarse, size=size, mode='bilinear', align_corners=False)[0]
    return (coarse + torch.rand(3, *size, generator=generator) * 55).to(torch.uint8)


def _session(data: bytes) -> Any:
    import onnxruntime  # needed by this alone, and not required by the package
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # sizes that fail are reported here
    return onnxruntime.InferenceSession(data, options, providers=['CPUExecutionProvider'])


def _of_file(session: Any, image: Tensor) -> Prediction | None:
    try:
        labels, logits = session.run(['labels', 'logits'], {'images': image[None].numpy().astype(np.float32)})
    except Exception:  # onnxruntime has an error class for each of its codes and no common one
        return None
    scores = torch.from_numpy(logits)[0]
    return Prediction(torch.from_numpy(labels)[0], scores if len(scores) > 1 else scores.sigmoid())


def _of_torch(segmentor: BaseSegmentor, image: Tensor) -> Prediction | None:
    size = tuple(image.shape[1:])
    sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
    try:
        with torch.no_grad():
            found, = segmentor.test_step(dict(inputs=[image], data_samples=[sample]))
    except (AssertionError, RuntimeError, ValueError):
        return None
    return Prediction(found.pred_sem_seg.data[0], found.seg_logits.data)


def _compare(found: Prediction | None, wanted: Prediction | None, size: tuple[int, int]) -> str:
    where = f'the file for images of {size[0]} x {size[1]} would not be right'
    if found is None or wanted is None:
        one, other = ('the file', 'torch') if found is None else ('torch', 'the file')
        raise OnnxExportError(f'{where}: {one} fails, {other} predicts')
    if found.scores_CHW.shape != wanted.scores_CHW.shape:
        raise OnnxExportError(f'{where}: it gives a map of {tuple(found.scores_CHW.shape)} in place of '
                              f'{tuple(wanted.scores_CHW.shape)}')
    largest = float(wanted.scores_CHW.abs().max())
    difference = float((found.scores_CHW - wanted.scores_CHW).abs().max())
    others = found.labels_HW != wanted.labels_HW
    if not difference <= TOLERANCE * largest or bool(others[_margin(wanted) > 2 * TOLERANCE * largest].any()):
        raise OnnxExportError(f'{where}: scores differ by {difference:.2g} where the largest is {largest:.2g}, '
                              f'{int(others.sum())} of {others.numel()} pixels get another class')
    return f'largest difference {difference:.1e} of {largest:.1e}, {int(others.sum())} labels differ'


def _margin(prediction: Prediction) -> Tensor:
    if len(prediction.scores_CHW) == 1:
        return torch.full_like(prediction.scores_CHW[0], torch.inf)
    best = prediction.scores_CHW.topk(2, dim=0).values
    return best[0] - best[1]
