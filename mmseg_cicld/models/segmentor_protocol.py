"""All that training signals may ask of a network: the one seam between ``uda/`` and ``models/``.

A training forward is three calls: ``views`` says what the encoder will see, ``encode`` gives the features of a view, and
``losses`` gives losses and logits of these features. Whoever wants other features puts them in between.

Shape suffixes: B images, C channels or classes, H and W height and width, h and w feature height and width.
"""
import inspect
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from mmseg.models.decode_heads import PointHead
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.utils import add_prefix
from torch import Tensor, nn

from ..mmengine_internals import normalises
from .crop_box import CropBox
from .frozen_state import frozen_state, share_frozen
from .head_checks import check_head
from .head_losses import AdjustLogits, head_losses, predicted_logits, raw_logits
from .label_rule import LabelRule
from .precision import full_precision

METHODS = ('views', 'encode', 'losses')
MMSEG_PREDICTIONS = (EncoderDecoder.encode_decode, CascadeEncoderDecoder.encode_decode)


class View(NamedTuple):
    """What one pass through the encoder sees.

    Args:
        images_BCHW: The images, or maps in their place.
        box: Where they lie in the training images; None for the whole of these, at whatever scale.
    """

    images_BCHW: Tensor
    box: CropBox | None = None


class ViewFeatures(NamedTuple):
    """What the encoder gives for a view.

    Args:
        levels: Feature maps of the backbone, or of the neck if there is one, finest first.
        box: That of the view.
    """

    levels: tuple[Tensor, ...]
    box: CropBox | None = None


class TrainingOutput(NamedTuple):
    """Losses of a training forward (``decode.loss_ce``, ``aux.loss_ce``, ``decode.acc_seg``, ...) and its logits.

    ``logits_BCHW`` are those of the main head at the resolution of the labels, with gradient.
    """

    losses: dict[str, Tensor]
    logits_BCHW: Tensor


class SegmentorProtocol(Protocol):
    """What a segmentor implements to be trained in a way of its own; others are read as mmseg's ``EncoderDecoder``.

    Beside these methods it has what any mmseg segmentor has: ``decode_head`` (number of classes, rule from logits to
    labels), ``data_preprocessor``, and ``encode_decode`` for predictions.
    """

    def views(self, images_BCHW: Tensor, draws: Sequence[float]) -> tuple[View, ...]:
        """Says what the encoder will see of images, or of maps of their size.

        Args:
            images_BCHW: Normalised images.
            draws: Two numbers in [0, 1) for whatever the segmentor places at random. Equal draws give equal views.

        Returns:
            The first view shows the whole images.
        """

    def encode(self, view: View) -> ViewFeatures:
        """Returns the features of a view."""

    def losses(self, features: Sequence[ViewFeatures], labels_BHW: Tensor, weights_BHW: Tensor | None,
               seeds: Sequence[int] | None) -> TrainingOutput:
        """Computes losses and logits of the features of all views.

        Args:
            features: One entry for each view, in their order.
            labels_BHW: int64 class ids of the training images.
            weights_BHW: Loss weight of each pixel in [0, 1]; None weighs all one.
            seeds: A seed for each image, for what a network draws itself; None draws from torch's global stream.

        A segmentor may take a further argument ``adjust``, which maps the logits of the main head, at the resolution of
        the labels, to those that its losses see. Only signals that correct logits need it.
        """

    def decode(self, features: Sequence[ViewFeatures], size: tuple[int, int]) -> Tensor:
        """Returns logits [B, C, H, W] of ``size`` as in a prediction, with gradient.

        Only signals without labels, such as entropy, need it.
        """


class EncoderDecoderProtocol:
    """The protocol for mmseg's ``EncoderDecoder`` and all that inherit from it, cascades and auxiliary heads too.

    Args:
        segmentor: The segmentor.
    """

    def __init__(self, segmentor: nn.Module) -> None:
        self._segmentor = segmentor

    def views(self, images_BCHW: Tensor, draws: Sequence[float]) -> tuple[View, ...]:
        """The images, as they are."""
        return (View(images_BCHW), )

    def encode(self, view: View) -> ViewFeatures:
        """See :class:`SegmentorProtocol`."""
        features = self._segmentor.extract_feat(view.images_BCHW)
        return ViewFeatures((features, ) if isinstance(features, Tensor) else tuple(features), view.box)

    def losses(self, features: Sequence[ViewFeatures], labels_BHW: Tensor, weights_BHW: Tensor | None,
               seeds: Sequence[int] | None, adjust: AdjustLogits | None = None) -> TrainingOutput:
        """See :class:`SegmentorProtocol`; names of losses are those of mmseg."""
        levels, losses, previous = features[0].levels, {}, None
        heads, train_cfg = heads_of(self._segmentor, 'decode_head'), self._segmentor.train_cfg
        for index, head in enumerate(heads):
            if index:
                # As mmseg does it: what a stage hands on is computed by itself.
                previous = raw_logits(heads[index - 1], levels, previous)
            more = {} if adjust is None or index < len(heads) - 1 else dict(adjust=adjust)
            if hasattr(head, 'training_losses'):
                own, logits_BCHW = head.training_losses(levels, labels_BHW, weights_BHW, seeds, **more)
            else:
                own, logits_BCHW = head_losses(head, levels, labels_BHW, weights_BHW, previous, train_cfg, **more)
            losses.update(add_prefix(own, f'decode_{index}' if len(heads) > 1 else 'decode'))
        losses.update(auxiliary_losses(self._segmentor, levels, labels_BHW, weights_BHW))
        return TrainingOutput(losses, logits_BCHW)

    def decode(self, features: Sequence[ViewFeatures], size: tuple[int, int]) -> Tensor:
        """See :class:`SegmentorProtocol`."""
        levels, previous = features[0].levels, None
        *stages, last = heads_of(self._segmentor, 'decode_head')
        for stage in stages:
            previous = raw_logits(stage, levels, previous)
        return predicted_logits(last, levels, previous, prediction_metas(size, len(levels[0])),
                                self._segmentor.test_cfg)

    def predict_logits(self, images_BCHW: Tensor) -> Tensor:
        """Returns logits [B, C, H, W] of whole images.

        A segmentor that predicts in a way of its own does so here too, so that a teacher labels as it is evaluated.
        """
        if type(self._segmentor).encode_decode not in MMSEG_PREDICTIONS:
            metas = prediction_metas(tuple(images_BCHW.shape[2:]), len(images_BCHW))
            return self._segmentor.encode_decode(images_BCHW, metas)
        return self.decode([self.encode(View(images_BCHW))], tuple(images_BCHW.shape[2:]))


class TrainableSegmentor:
    """A segmentor as training signals see it, student and teacher alike.

    Args:
        segmentor: An mmseg segmentor. One with the methods of :class:`SegmentorProtocol` is trained by these.

    Raises:
        TypeError: If it has some of these methods, but not all.
    """

    def __init__(self, segmentor: nn.Module) -> None:
        self.module = segmentor
        missing = [method for method in METHODS if not hasattr(segmentor, method)]
        if 0 < len(missing) < len(METHODS):
            raise TypeError(f'model.segmentor is a {type(segmentor).__name__} that lacks the methods {missing} of '
                            f'SegmentorProtocol: give it all of {list(METHODS)}, or none to be read as EncoderDecoder')
        self._protocol: SegmentorProtocol = EncoderDecoderProtocol(segmentor) if missing else segmentor

    @property
    def main_head(self) -> nn.Module:
        """The head that predicts: the last one of a cascade."""
        return heads_of(self.module, 'decode_head')[-1]

    @property
    def num_classes(self) -> int:
        """Number of classes that the main head tells apart."""
        return self.main_head.num_classes

    @property
    def ignore_index(self) -> int:
        """Label of pixels without a class."""
        return self.main_head.ignore_index

    @property
    def label_rule(self) -> LabelRule:
        """How labels and confidence follow from logits."""
        return LabelRule.of_head(self.main_head)

    @property
    def normalisation(self) -> tuple[Tensor, Tensor]:
        """Mean and std of the data preprocessor, each [1, C, 1, 1], in units of 8-bit images."""
        return self.module.data_preprocessor.mean[None], self.module.data_preprocessor.std[None]

    @property
    def frozen_state(self) -> dict[str, Tensor]:
        """Parameters and buffers that no training changes, by name: those of the frozen part of a tuned backbone."""
        return frozen_state(self.module)

    def share_frozen(self, other: nn.Module) -> None:
        """Takes the very parameters and buffers of a segmentor like this one in place of its own that never change."""
        share_frozen(self.module, other)

    def is_main_loss(self, name: str) -> bool:
        """Tells whether a loss is the main head's, and not that of an auxiliary head or of a single scale (HRDA).

        A name without a dot, as a segmentor of one's own may give, is the main head's.
        """
        if '.' not in name:
            return True
        stages = len(heads_of(self.module, 'decode_head'))
        head, _, rest = name.partition('.')
        part = rest.partition('.')[0]
        return head == (f'decode_{stages - 1}' if stages > 1 else 'decode') and part not in ('hr', 'lr')

    @property
    def decodes(self) -> bool:
        """Whether it has :meth:`decode`."""
        return hasattr(self._protocol, 'decode')

    @property
    def adjusts(self) -> bool:
        """Whether the logits that its losses see can be adjusted; ``PointHead`` has them at points only."""
        methods = [self._protocol.losses]
        if hasattr(self.main_head, 'training_losses'):
            methods.append(self.main_head.training_losses)
        taken = all('adjust' in inspect.signature(method).parameters for method in methods)
        return taken and not isinstance(self.main_head, PointHead)

    @property
    def denoising_head(self) -> nn.Module | None:
        """The head that denoises latents (see ``LatentDiffusionHead.estimate``), also inside another; None without."""
        return getattr(self.main_head, 'denoising_head', None)

    def views(self, images_BCHW: Tensor, draws: Sequence[float]) -> tuple[View, ...]:
        """See :meth:`SegmentorProtocol.views`."""
        return self._protocol.views(images_BCHW, draws)

    def encode(self, view: View) -> ViewFeatures:
        """See :meth:`SegmentorProtocol.encode`."""
        return self._protocol.encode(view)

    def losses(self, features: Sequence[ViewFeatures], labels_BHW: Tensor, weights_BHW: Tensor | None = None,
               seeds: Sequence[int] | None = None, adjust: AdjustLogits | None = None) -> TrainingOutput:
        """See :meth:`SegmentorProtocol.losses`."""
        more = {} if adjust is None else dict(adjust=adjust)
        return self._protocol.losses(features, labels_BHW, weights_BHW, seeds, **more)

    def decode(self, features: Sequence[ViewFeatures], size: tuple[int, int]) -> Tensor:
        """See :meth:`SegmentorProtocol.decode`."""
        return full_precision(self._protocol.decode(features, size))

    def predict(self, images_BCHW: Tensor) -> Tensor:
        """Returns logits, float [B, C, H, W], of normalised images, which are seen in all detail.

        In the mode that the network is in, training or evaluation.
        """
        if hasattr(self._protocol, 'predict_logits'):
            return full_precision(self._protocol.predict_logits(images_BCHW))
        metas = prediction_metas(tuple(images_BCHW.shape[2:]), len(images_BCHW))
        return full_precision(self.module.encode_decode(images_BCHW, metas))


def heads_of(segmentor: nn.Module, key: str) -> list[nn.Module]:
    """Returns the heads of a segmentor under ``'decode_head'`` or ``'auxiliary_head'``, in their order."""
    heads = getattr(segmentor, key, None)
    if heads is None:
        return []
    return list(heads) if isinstance(heads, nn.ModuleList) else [heads]


def auxiliary_losses(segmentor: nn.Module, levels: tuple[Tensor, ...], labels_BHW: Tensor,
                     weights_BHW: Tensor | None) -> dict[str, Tensor]:
    """Returns the losses of the auxiliary heads by mmseg's names, ``aux.`` or, of several, ``aux_0.``."""
    heads, losses = heads_of(segmentor, 'auxiliary_head'), {}
    several = isinstance(getattr(segmentor, 'auxiliary_head', None), nn.ModuleList)
    for index, head in enumerate(heads):
        own, _ = head_losses(head, levels, labels_BHW, weights_BHW)
        losses.update(add_prefix(own, f'aux_{index}' if several else 'aux'))
    return losses


def prediction_metas(size: tuple[int, int], images: int) -> list[dict]:
    """Returns the metainfo that heads of mmseg want for predictions of ``size``."""
    meta = dict(img_shape=torch.Size(size), pad_shape=torch.Size(size), ori_shape=torch.Size(size),
                padding_size=[0, 0, 0, 0])
    return [meta] * images


def check_segmentor(segmentor: nn.Module) -> None:
    """Refuses a segmentor that training signals cannot train as they say they do.

    Raises:
        TypeError: If a head does not classify pixels.
        ValueError: If a loss cannot weigh pixels, the data preprocessor does not normalise, or its padding and the
            heads disagree about the label to ignore.
    """
    if not heads_of(segmentor, 'decode_head'):
        raise TypeError(f'model.segmentor is a {type(segmentor).__name__} without decode_head, from which the number of '
                        'classes and the rule from logits to labels are read: give it one')
    for key in ('decode_head', 'auxiliary_head'):
        for head in heads_of(segmentor, key):
            check_head(head, f'model.segmentor.{key}')
    preprocessor = segmentor.data_preprocessor
    if not normalises(preprocessor):
        raise ValueError('segmentor.data_preprocessor has no mean and std, which colour jitter and mixing need: set '
                         "model.segmentor.data_preprocessor=dict(type='SegDataPreProcessor', mean=..., std=...)")
    _check_ignored(segmentor)
    _check_cascade(segmentor)


def _check_cascade(segmentor: nn.Module) -> None:
    heads, train_cfg = heads_of(segmentor, 'decode_head'), getattr(segmentor, 'train_cfg', None) or {}
    if len(heads) > 1 and heads[-1].out_channels == 1:
        raise ValueError('the last head of model.segmentor has out_channels=1, which mmseg cannot evaluate in a cascade: '
                         'remove out_channels and threshold from it')
    if isinstance(heads[-1], PointHead) and 'num_points' not in train_cfg:
        raise ValueError('PointHead samples points in training: set model.segmentor.train_cfg=dict(num_points=2048, '
                         'oversample_ratio=3, importance_sample_ratio=0.75)')


def _check_ignored(segmentor: nn.Module) -> None:
    heads = [head for key in ('decode_head', 'auxiliary_head') for head in heads_of(segmentor, key)]
    ignored = {head.ignore_index for head in heads}
    if len(ignored) > 1 or not 0 <= min(ignored) <= 255:
        raise ValueError(f'the heads of model.segmentor have ignore_index {sorted(ignored)}: give all of them the same, '
                         'in [0, 255]')
    padded = getattr(segmentor.data_preprocessor, 'seg_pad_val', None)
    if padded is not None and {padded} != ignored:
        raise ValueError(f'model.segmentor.data_preprocessor.seg_pad_val is {padded}, but the heads ignore '
                         f'{ignored.pop()}: set seg_pad_val, or ignore_index of the heads, to the same label')
