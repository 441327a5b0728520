"""All that training signals may ask of a segmentor, so that any mmseg 1.x segmentor with per-pixel heads fits.

Shape suffixes: B images, C channels or classes, H and W input height and width, h and w feature height and width.
"""
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.structures import SegDataSample
from torch import Tensor, nn

IGNORE_INDEX = 255

# Maps what went into the encoder and the features that came out to the features that the heads see.
FeatureEdit = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]


@dataclass
class SegmentationOutput:
    """What one training forward of a segmentor gives.

    Args:
        losses: The segmentor's own loss dict (``decode.loss_ce``, ``aux.loss_ce``, ``decode.acc_seg``, ...).
        logits_BCHW: Logits of the main head at label resolution, with gradient.
        features: Feature maps of the backbone, or of the neck if there is one, finest first, with gradient.
    """

    losses: dict[str, Tensor] = field(default_factory=dict)
    logits_BCHW: Tensor | None = None
    features: tuple[Tensor, ...] = ()


class _HeadTap:
    """Sits in a decode head's ``sampler`` slot: hands it the pixel weights and keeps the resized logits."""

    def __init__(self, weights_BHW: Tensor | None) -> None:
        self.weights_BHW = weights_BHW
        self.logits_BCHW: Tensor | None = None

    def sample(self, seg_logits: Tensor, seg_label: Tensor) -> Tensor | None:
        self.logits_BCHW = seg_logits
        return self.weights_BHW


def check_segmentor(segmentor: nn.Module) -> None:
    """Refuses a segmentor whose heads do not classify each pixel.

    Raises:
        TypeError: If a decode or auxiliary head is not a ``BaseDecodeHead``.
        ValueError: If a head has a pixel sampler of its own, or the data preprocessor does not normalise.
    """
    for key in ('decode_head', 'auxiliary_head'):
        for head in _heads(segmentor, key):
            if not isinstance(head, BaseDecodeHead):
                raise TypeError(
                    f'segmentor.{key} is a {type(head).__name__}, which does not predict a class for each pixel; '
                    'ClassMixEMA needs heads derived from mmseg\'s BaseDecodeHead (DAFormerHead, SegformerHead, '
                    f'UPerHead, ...): change model.segmentor.{key}.type in the config')
            if head.sampler is not None:
                raise ValueError(f'segmentor.{key}.sampler is {type(head.sampler).__name__}, but that slot carries the '
                                 f'pseudo-label weights: remove model.segmentor.{key}.sampler from the config')
    if not getattr(segmentor.data_preprocessor, '_enable_normalize', False):
        raise ValueError('segmentor.data_preprocessor has no mean and std, which colour jitter and mixing need: set '
                         "model.segmentor.data_preprocessor=dict(type='SegDataPreProcessor', mean=..., std=...)")


def num_classes(segmentor: nn.Module) -> int:
    """Returns the number of classes that the main head predicts."""
    return _heads(segmentor, 'decode_head')[-1].num_classes


def train_forward(segmentor: nn.Module,
                  images_BCHW: Tensor,
                  labels_BHW: Tensor,
                  weights_BHW: Tensor | None = None,
                  crop_box: tuple | None = None,
                  sample_seeds: Sequence[int] | None = None,
                  edit_features: FeatureEdit | None = None) -> SegmentationOutput:
    """Runs one training forward and gives losses, logits and features of that same pass.

    Args:
        segmentor: An mmseg segmentor.
        images_BCHW: Normalised float images.
        labels_BHW: int64 class ids, 255 = ignore.
        weights_BHW: Loss weight of each pixel in [0, 1]; all one if None.
        crop_box: What :func:`draw_crop_box` gave for this forward.
        sample_seeds: A seed for each image, for networks that draw something themselves, such as diffusion noise.
            They find it as ``sample_seed`` in the metainfo.
        edit_features: Called with the images and the features of each pass through the encoder (a segmentor of two
            scales passes twice); what it returns goes to the heads.
    """
    seeds = [None] * len(labels_BHW) if sample_seeds is None else sample_seeds
    samples = [_data_sample(label_HW, crop_box, seed) for label_HW, seed in zip(labels_BHW, seeds, strict=True)]
    features: list[tuple[Tensor, ...]] = []
    with _feature_tap(segmentor, features, edit_features), _head_taps(segmentor, weights_BHW) as main_tap:
        losses = segmentor.loss(images_BCHW, samples)
    return SegmentationOutput(losses=losses, logits_BCHW=main_tap.logits_BCHW, features=features[0])


def draw_crop_box(segmentor: nn.Module, images_BCHW: Tensor, draws: Callable[[], Sequence[float]]) -> tuple | None:
    """Places the crop that a segmentor looks at in detail in one training forward.

    Args:
        segmentor: An mmseg segmentor. One that trains on crops has a method ``draw_crop_box(size, draws)``.
        images_BCHW: The images of the forward.
        draws: Gives two numbers in [0, 1).

    Returns:
        The box, None for a segmentor that always looks at the whole image.
    """
    if not hasattr(segmentor, 'draw_crop_box'):
        return None
    return segmentor.draw_crop_box(tuple(images_BCHW.shape[2:]), draws())


def encoder_views(segmentor: nn.Module, images_BCHW: Tensor, crop_box: tuple | None = None) -> tuple[Tensor, ...]:
    """Returns what each pass through the encoder sees of images, or of maps of their size, in one training forward.

    Args:
        segmentor: An mmseg segmentor. One that passes more than once has a method ``encoder_views(images, crop_box)``.
        images_BCHW: Images, or maps in their place.
        crop_box: What :func:`draw_crop_box` gave for the forward.
    """
    if not hasattr(segmentor, 'encoder_views'):
        return (images_BCHW, )
    return segmentor.encoder_views(images_BCHW, crop_box)


def predict_logits(segmentor: nn.Module, images_BCHW: Tensor, crop_box: tuple | None = None) -> Tensor:
    """Returns the segmentor's logits, float [B, classes, H, W] at input resolution, in the mode it is in.

    Args:
        segmentor: An mmseg segmentor.
        images_BCHW: Normalised float images.
        crop_box: What :func:`draw_crop_box` gave, None to see everything in detail.
    """
    height, width = images_BCHW.shape[2:]
    meta = dict(img_shape=torch.Size((height, width)), pad_shape=torch.Size((height, width)),
                ori_shape=torch.Size((height, width)), padding_size=[0, 0, 0, 0], crop_box=crop_box)
    logits_BCHW = segmentor.encode_decode(images_BCHW, [meta] * len(images_BCHW))
    return logits_BCHW if logits_BCHW.dtype == torch.float64 else logits_BCHW.float()


def normalisation(segmentor: nn.Module) -> tuple[Tensor, Tensor]:
    """Returns mean and std of the data preprocessor, each [1, C, 1, 1], in units of 8-bit images."""
    preprocessor = segmentor.data_preprocessor
    return preprocessor.mean[None], preprocessor.std[None]


def _heads(segmentor: nn.Module, key: str) -> list[nn.Module]:
    heads = getattr(segmentor, key, None)
    if heads is None:
        return []
    return list(heads) if isinstance(heads, nn.ModuleList) else [heads]


def _as_tuple(features: Tensor | list[Tensor] | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (features, ) if isinstance(features, Tensor) else tuple(features)


def _data_sample(label_HW: Tensor, crop_box: tuple | None, seed: int | None) -> SegDataSample:
    shape = tuple(label_HW.shape)
    return SegDataSample(gt_sem_seg=PixelData(data=label_HW[None]),
                         metainfo=dict(img_shape=shape, ori_shape=shape, crop_box=crop_box, sample_seed=seed))


@contextmanager
def _feature_tap(segmentor: nn.Module, features: list[tuple[Tensor, ...]], edit: FeatureEdit | None) -> Iterator[None]:
    encoded: list[Tensor] = []
    neck = segmentor.neck if getattr(segmentor, 'with_neck', False) else None

    def record(module: nn.Module, args: tuple, out: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        features.append(_as_tuple(out) if edit is None else edit(encoded[-1], _as_tuple(out)))
        return None if edit is None else features[-1]

    handles = [segmentor.backbone.register_forward_pre_hook(lambda module, args: encoded.append(args[0])),
               (neck or segmentor.backbone).register_forward_hook(record)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _head_taps(segmentor: nn.Module, weights_BHW: Tensor | None) -> Iterator[_HeadTap]:
    # The last decode head of a cascade is the one that predicts.
    heads = _heads(segmentor, 'auxiliary_head') + _heads(segmentor, 'decode_head')
    taps = [_HeadTap(weights_BHW) for _ in heads]
    for head, tap in zip(heads, taps):
        head.sampler = tap
    try:
        yield taps[-1]
    finally:
        for head in heads:
            head.sampler = None
