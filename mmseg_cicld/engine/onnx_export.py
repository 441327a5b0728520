"""ONNX files of segmentors, from images as they are read to labels, each checked against torch before it is kept.

Shape suffixes: B images, C classes, H and W height and width.
"""
import contextlib
import importlib.util
import io
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.models.segmentors.base import BaseSegmentor
from torch import Tensor, nn

from ..models.decode_heads.hrda_head import HRDAHead
from ..models.decode_heads.latent_diffusion_head import LatentDiffusionHead
from ..models.segmentors.hrda import HRDAEncoderDecoder
from .onnx_check import OnnxExportError, check_against_torch
from .onnx_tracing import SizeFreeFunctions

OPSET = 18
ONE_SIZE = '--size HEIGHT WIDTH'
EXAMPLE_SIZE = (128, 192)
CHECKED_SIZES = (EXAMPLE_SIZE, (96, 128), (133, 201), (224, 160), (97, 257), (256, 320))
"""Sizes at which a file for any size is compared; those of odd numbers round otherwise inside of a network."""


class ImageToLabels(nn.Module):
    """A segmentor with what mmseg does around it: normalisation and padding before, labels after.

    Args:
        segmentor: An mmseg segmentor with a ``SegDataPreProcessor``.

    Raises:
        OnnxExportError: If its preprocessor is another.
    """

    def __init__(self, segmentor: BaseSegmentor) -> None:
        super().__init__()
        self.segmentor, settings = segmentor, segmentor.data_preprocessor
        if not isinstance(settings, SegDataPreProcessor):
            raise OnnxExportError(f'model.data_preprocessor is a {type(settings).__name__}, allowed is a '
                                  'SegDataPreProcessor, whose normalisation the file holds')
        head = segmentor.decode_head
        self.head = head[-1] if isinstance(head, nn.ModuleList) else head  # the last of a cascade predicts

    def forward(self, images_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Segments images.

        Args:
            images_B3HW: float32 values of 0 to 255, in the order of channels that mmseg's pipelines give.

        Returns:
            int64 labels [B, H, W], and logits [B, C, H, W].
        """
        height, width = images_B3HW.shape[2], images_B3HW.shape[3]
        inputs_B3HW = self._padded(self._normalised(images_B3HW), height, width)
        size = (inputs_B3HW.shape[2], inputs_B3HW.shape[3])
        metas = [dict(ori_shape=size, img_shape=size, pad_shape=size)]
        logits_BCHW = self.segmentor.inference(inputs_B3HW, metas)[:, :, :height, :width]
        if logits_BCHW.shape[1] > 1:
            return logits_BCHW.argmax(dim=1), logits_BCHW
        return (logits_BCHW.sigmoid() > self.head.threshold)[:, 0].long(), logits_BCHW

    def _normalised(self, images_B3HW: Tensor) -> Tensor:
        settings = self.segmentor.data_preprocessor
        if settings.channel_conversion:
            images_B3HW = images_B3HW[:, [2, 1, 0]]
        return (images_B3HW - settings.mean) / settings.std if hasattr(settings, 'mean') else images_B3HW

    def _padded(self, inputs_B3HW: Tensor, height: int, width: int) -> Tensor:
        settings = self.segmentor.data_preprocessor
        padding = settings.test_cfg or {}
        if padding.get('size') is not None:
            bottom, right = (max(int(side - own), 0) for side, own in zip(padding['size'][-2:], (height, width)))
        else:
            divisor = padding.get('size_divisor') or 1
            bottom, right = ((divisor - side % divisor) % divisor for side in (height, width))
        return F.pad(inputs_B3HW, (0, right, 0, bottom), value=settings.pad_val)


def export_onnx(segmentor: BaseSegmentor, path: str | Path, size: tuple[int, int] | None = None,
                metadata: dict | None = None) -> list[str]:
    """Writes a segmentor as an ONNX file: input ``images`` [1, 3, H, W], outputs ``labels`` and ``logits``.

    The file is compared with mmseg's own prediction in onnxruntime, and written only if it gives the same.

    Args:
        segmentor: The network with its weights, on the CPU.
        path: File to write.
        size: Height and width of the only size that the file takes; None for a file that takes any.
        metadata: Values that are stored in the file, as JSON.

    Returns:
        A line for each size that was compared.

    Raises:
        OnnxExportError: If onnx or onnxruntime is missing, or the network cannot be exported so that the file
            predicts what it predicts.
    """
    missing = [name for name in ('onnx', 'onnxruntime') if importlib.util.find_spec(name) is None]
    if missing:
        raise OnnxExportError(f'{missing[0]} is missing: pip install onnx onnxruntime')
    network = ImageToLabels(segmentor).eval()
    if size is None:
        refuse_any_size(segmentor)
    try:
        data = _traced(network, size or EXAMPLE_SIZE, any_size=size is None)
        lines = check_against_torch(data, segmentor, [size] if size else CHECKED_SIZES)
    except OnnxExportError as error:
        advice = '' if size else f'; a file for one size may be right, try {ONE_SIZE}'
        raise OnnxExportError(f'{type(network.head).__name__}: {error}{advice}') from error
    _write(data, Path(path), metadata or {})
    return lines


def refuse_any_size(segmentor: BaseSegmentor) -> None:
    """Refuses networks whose graph depends on the size of the image: a file of them is right for one size.

    Raises:
        OnnxExportError: Names the part.
    """
    head = segmentor.decode_head
    head = head.head if isinstance(head, HRDAHead) else head
    padding = segmentor.data_preprocessor.test_cfg or {}
    reasons = {
        'the number of its windows (HRDAEncoderDecoder)': isinstance(segmentor, HRDAEncoderDecoder),
        "the number of its windows (model.test_cfg.mode='slide')": segmentor.test_cfg.get('mode') == 'slide',
        "its noise (decode_head.inference.noise='keyed')": isinstance(head, LatentDiffusionHead)
        and head.denoiser is not None and bool(head.steps) and head.inference.noise == 'keyed',
        'its padding (data_preprocessor.test_cfg.size)': padding.get('size') is not None}
    found = [reason for reason, applies in reasons.items() if applies]
    if found:
        raise OnnxExportError(f'a file for any size would give other labels: {found[0]} depends on the size of the '
                              f'image; give the one size that the file is for, as {ONE_SIZE}')


def _traced(network: ImageToLabels, size: tuple[int, int], any_size: bool) -> bytes:
    buffer, example = io.BytesIO(), torch.full((1, 3, *size), 127.5)
    axes = {'images': {2: 'height', 3: 'width'}, 'labels': {1: 'height', 2: 'width'},
            'logits': {2: 'height', 3: 'width'}} if any_size else {}
    try:
        with torch.no_grad(), SizeFreeFunctions(), warnings.catch_warnings(), _silent():
            warnings.simplefilter('ignore')  # of values that become constants; the check sees those that must not
            torch.onnx.export(network, (example, ), buffer, dynamo=False, opset_version=OPSET,
                              input_names=['images'], output_names=['labels', 'logits'], dynamic_axes=axes)
    except Exception as error:  # the exporter raises whatever an operation of the network makes of its records
        reason = ' '.join(str(error).split())[:160] or type(error).__name__
        raise OnnxExportError(f"torch's exporter cannot write it: {reason}") from error
    return buffer.getvalue()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Drops what is printed: of a network that it cannot write, the exporter's C++ prints the whole graph."""
    printed = os.dup(1)
    try:
        with open(os.devnull, 'wb') as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(printed, 1)
        os.close(printed)


def _write(data: bytes, path: Path, metadata: dict) -> None:
    import onnx
    model = onnx.load_from_string(data)
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'{path.name}.partial')
    partial.write_bytes(model.SerializeToString())
    partial.replace(path)
