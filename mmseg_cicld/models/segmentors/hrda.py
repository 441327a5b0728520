"""A segmentor that sees the whole image coarsely and parts of it in detail (HRDA, Hoyer et al., ECCV 2022).

Shape suffixes: B images, C channels, H and W height and width.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ..crop_box import CropBox, MultiScaleFeatures, average_windows, random_crop_box, sliding_windows
from ..decode_heads.hrda_head import HRDAHead
from ..head_losses import AdjustLogits
from ..segmentor_protocol import TrainingOutput, View, ViewFeatures, auxiliary_losses, prediction_metas


@MODELS.register_module()
class HRDAEncoderDecoder(EncoderDecoder):
    """Context at a small scale, detail at full scale: a random crop in training, sliding windows in inference.

    In training it shows its encoder two views, see :class:`~mmseg_cicld.models.segmentor_protocol.SegmentorProtocol`:
    all of the images at the context scale, and one detail crop.

    Args:
        scales: Two scales of which the larger is 1; (1, 0.5) as published.
        hr_crop_size: Height and width of the detail crop in training and of the windows in inference, in pixels.
        crop_coord_divisible: Grid of the crop offsets in pixels. Images are padded to a multiple of it in inference;
            in training their size has to be one.
        hr_slide_inference: Detail in inference from windows; otherwise from the whole image at once.
        hr_slide_overlapping: Windows overlap by half.
        window_chunk: At most so many windows go through the network at once, which caps the memory of inference and
            of the teacher; None for all.
        **kwargs: As for mmseg's ``EncoderDecoder``. ``decode_head`` is an :class:`HRDAHead`.
            ``test_cfg.batched_slide=True`` stacks the outer windows of ``mode='slide'`` too.

    Raises:
        TypeError: If the decode head is not an HRDAHead.
        ValueError: If a value is out of its range.
    """

    def __init__(self, *, hr_crop_size: Sequence[int], scales: Sequence[float] = (1, 0.5),
                 crop_coord_divisible: int = 8, hr_slide_inference: bool = True, hr_slide_overlapping: bool = True,
                 window_chunk: int | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        if not isinstance(self.decode_head, HRDAHead):
            raise TypeError(f'decode_head is a {type(self.decode_head).__name__}; HRDAEncoderDecoder needs '
                            "decode_head=dict(type='HRDAHead', single_scale_head=..., ...)")
        self.context_scale = _context_scale(scales)
        self.hr_crop_size, self.crop_coord_divisible = tuple(hr_crop_size), crop_coord_divisible
        if any(side % crop_coord_divisible for side in self.hr_crop_size):
            raise ValueError(f'hr_crop_size={self.hr_crop_size} must be a multiple of crop_coord_divisible='
                             f'{crop_coord_divisible}')
        if window_chunk is not None and window_chunk < 1:
            raise ValueError(f'window_chunk is {window_chunk}, allowed are None and numbers from 1 on')
        self.hr_slide_inference, self.hr_slide_overlapping = hr_slide_inference, hr_slide_overlapping
        self.window_chunk = window_chunk

    def views(self, images_BCHW: Tensor, draws: Sequence[float]) -> tuple[View, View]:
        """Returns what the encoder sees of images in one training forward: the context, then the detail crop.

        Args:
            images_BCHW: Images, or maps of their size.
            draws: Two numbers in [0, 1), for row and column of the crop, which is one for the whole batch.

        Raises:
            ValueError: If the images are smaller than the crop or not divisible as needed.
        """
        size = tuple(images_BCHW.shape[2:])
        if size[0] < self.hr_crop_size[0] or size[1] < self.hr_crop_size[1]:
            raise ValueError(f'training images of size {size} are smaller than hr_crop_size={self.hr_crop_size}: lower '
                             'hr_crop_size of the segmentor or raise the crop size of the training pipelines')
        if any(side % self.crop_coord_divisible for side in size):
            raise ValueError(f'training images of size {size} are no multiple of crop_coord_divisible='
                             f'{self.crop_coord_divisible}: change the crop size of the training pipelines')
        box = random_crop_box(size, self.hr_crop_size, self.crop_coord_divisible, draws)
        return View(self._context_view(images_BCHW)), View(box.crop(images_BCHW), box)

    def encode(self, view: View) -> ViewFeatures:
        """Returns the features of a view, finest first."""
        return ViewFeatures(tuple(super().extract_feat(view.images_BCHW)), view.box)

    def losses(self, features: Sequence[ViewFeatures], labels_BHW: Tensor, weights_BHW: Tensor | None,
               seeds: Sequence[int] | None, adjust: AdjustLogits | None = None) -> TrainingOutput:
        """Computes the losses of both scales and their fusion; auxiliary heads see the context."""
        scales = _scales(features, tuple(labels_BHW.shape[1:]))
        own, logits_BCHW = self.decode_head.training_losses(scales, labels_BHW, weights_BHW, seeds, adjust)
        losses = add_prefix(own, 'decode')
        losses.update(auxiliary_losses(self, scales.context, labels_BHW, weights_BHW))
        return TrainingOutput(losses, logits_BCHW)

    def decode(self, features: Sequence[ViewFeatures], size: tuple[int, int]) -> Tensor:
        """Returns logits of ``size``, with detail where the crop lies."""
        logits = self.decode_head(_scales(features, size))
        return self.decode_head.predict_by_feat(logits, prediction_metas(size, len(logits)))

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Returns the features of the whole image at the context scale, finest first."""
        return super().extract_feat(self._context_view(inputs))

    def _context_view(self, inputs: Tensor) -> Tensor:
        if self.context_scale == 1:
            return inputs
        size = [int(side * self.context_scale) for side in inputs.shape[2:]]
        return resize(inputs, size=size, mode='bilinear', align_corners=False)

    def extract_scales(self, inputs: Tensor, windows: Sequence[CropBox]) -> MultiScaleFeatures:
        """Returns context features and the detail features of windows; inputs [B, C, H, W] are normalised images."""
        context = self.extract_feat(inputs)
        chunk = self.window_chunk or len(windows)
        if chunk < len(windows):
            self._refuse_batch_norm()
        detail = []
        for start in range(0, len(windows), chunk):
            crops = torch.cat([window.crop(inputs) for window in windows[start:start + chunk]])
            detail.append(tuple(super(HRDAEncoderDecoder, self).extract_feat(crops)))
        return MultiScaleFeatures(tuple(context), tuple(detail), tuple(windows), tuple(inputs.shape[2:]))

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """Computes the losses as mmseg asks for them; the crop is drawn from torch's global stream."""
        features = [self.encode(view) for view in self.views(inputs, torch.rand(2).tolist())]
        labels_BHW = torch.stack([sample.gt_sem_seg.data[0] for sample in data_samples])
        return self.losses(features, labels_BHW, None, None).losses

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Returns logits at the size of the images.

        Args:
            inputs: Normalised images [B, C, H, W].
            batch_img_metas: Metainfo as mmseg gives it.
        """
        padded = self._padded(inputs)
        logits = self.decode_head(self.extract_scales(padded, self._windows(tuple(padded.shape[2:]))))
        if padded is not inputs:
            logits = resize(logits, size=padded.shape[2:], mode='bilinear', align_corners=False)
            logits = logits[:, :, :inputs.shape[2], :inputs.shape[3]]
        return self.decode_head.predict_by_feat(logits, batch_img_metas)

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Averages the logits of windows of ``test_cfg.crop_size``, each with context and detail of its own."""
        size = tuple(inputs.shape[2:])
        windows = sliding_windows(size, tuple(self.test_cfg.crop_size), tuple(self.test_cfg.stride))
        together = len(windows) if self.test_cfg.get('batched_slide', False) else 1
        together = min(together, self.window_chunk or together)
        meta = dict(batch_img_metas[0], img_shape=torch.Size(windows[0].size))
        parts: list[Tensor] = []
        for start in range(0, len(windows), together):
            crops = torch.cat([window.crop(inputs) for window in windows[start:start + together]])
            parts += self.encode_decode(crops, [meta] * len(crops)).split(len(inputs))
        return average_windows(parts, windows, size)

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> Tensor:
        padded = self._padded(inputs)
        return self.decode_head(self.extract_scales(padded, self._windows(tuple(padded.shape[2:]))))

    def _windows(self, size: tuple[int, int]) -> tuple[CropBox, ...]:
        if not self.hr_slide_inference:
            return sliding_windows(size, size, size)
        divisor = 2 if self.hr_slide_overlapping else 1
        stride = tuple(side // divisor for side in self.hr_crop_size)
        return sliding_windows(size, self.hr_crop_size, stride)

    def _padded(self, inputs: Tensor) -> Tensor:
        bottom, right = (-side % self.crop_coord_divisible for side in inputs.shape[2:])
        return F.pad(inputs, (0, right, 0, bottom), mode='replicate') if bottom or right else inputs

    def _refuse_batch_norm(self) -> None:
        normed = [self.backbone] + ([self.neck] if self.with_neck else [])
        if any(isinstance(module, _BatchNorm) and module.training for part in normed for module in part.modules()):
            raise ValueError(
                f'window_chunk={self.window_chunk} would split the batch that the batch norms of the '
                f'{type(self.backbone).__name__} take their statistics from: set model.segmentor.window_chunk=None')


def _scales(features: Sequence[ViewFeatures], size: tuple[int, int]) -> MultiScaleFeatures:
    context, detail = features
    return MultiScaleFeatures(context.levels, (detail.levels, ), (detail.box, ), size)


def _context_scale(scales: Sequence[float]) -> float:
    scales = sorted(scales)
    if len(scales) != 2 or scales[0] <= 0 or scales[1] != 1:
        raise ValueError(f'scales={scales}: HRDAEncoderDecoder takes two, the context in (0, 1] and the detail, which is 1')
    return scales[0]
