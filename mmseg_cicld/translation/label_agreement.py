"""Whether a segmentor finds in an image what its label says."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..engine.checkpoint_reading import CheckpointError
from ..engine.evaluated_network import load_evaluated
from ..ignore_index import IGNORE_INDEX
from .errors import TranslationError


def load_segmentor(entry: dict, key: str, classes: int | None, device: torch.device | str) -> nn.Module:
    """Builds a trained segmentor from an entry of a translation config.

    Args:
        entry: ``dict(config=FILE, checkpoint=FILE)``; ``config`` of a training or of a plain segmentor, or the config
            itself.
        key: Name of the entry in the translation config, for messages.
        classes: Number of classes of the labels; None takes any.
        device: Where the network goes.

    Returns:
        The segmentor that the config evaluates, in evaluation mode.

    Raises:
        TranslationError: If the entry is incomplete, a file is missing, or the segmentor has another number of classes.
        CheckpointError: If the checkpoint is damaged.
    """
    if not isinstance(entry, dict) or entry.get('config') is None or entry.get('checkpoint') is None:
        raise TranslationError(f'{key}={entry!r}: give dict(config=FILE, checkpoint=FILE) of a trained segmentor')
    config = entry['config']
    if isinstance(config, (str, Path)):
        if not Path(config).is_file():
            raise TranslationError(f'{key}.config={str(config)!r}: there is no such file')
        config = Config.fromfile(config)
    if not Path(entry['checkpoint']).is_file():
        raise TranslationError(f'{key}.checkpoint={str(entry["checkpoint"])!r}: there is no such file. Train it first: '
                               'python tools/train.py CONFIG')
    try:
        segmentor = load_evaluated(config, entry['checkpoint'], str(device))
    except CheckpointError:
        raise
    except RuntimeError as error:
        reason = ' '.join(str(error).split())
        raise TranslationError(f'{key}.checkpoint={entry["checkpoint"]} does not fit {key}.config: {reason}') from error
    if classes is not None and segmentor.num_classes != classes:
        raise TranslationError(f'{key} predicts {segmentor.num_classes} classes, the labels of the source dataset have '
                               f'{classes}: give a segmentor that was trained with the classes of source')
    return segmentor


@torch.no_grad()
def predict(segmentor: nn.Module, image_HW3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predicts the classes of one image.

    Args:
        segmentor: In evaluation mode; its own normalisation and test settings are used.
        image_HW3: uint8 RGB.

    Returns:
        Class ids (uint8) and the probability of the predicted class (float32), both [H, W].
    """
    logits_CHW = _result(segmentor, image_HW3).seg_logits.data.float()
    confidence_HW, prediction_HW = logits_CHW.softmax(0).max(0)
    return prediction_HW.byte().cpu().numpy(), confidence_HW.cpu().numpy()


@torch.no_grad()
def pooled_features(segmentor: nn.Module, image_HW3: np.ndarray) -> np.ndarray:
    """Describes an image by the mean over all places of the last feature map of the backbone (float64 [D])."""
    inputs_1CHW = _batch(segmentor, image_HW3)['inputs']
    features = segmentor.backbone(inputs_1CHW)
    last: Tensor = features[-1] if isinstance(features, (list, tuple)) else features
    return last[0].double().mean((1, 2)).cpu().numpy()


def _result(segmentor: nn.Module, image_HW3: np.ndarray) -> SegDataSample:
    batch = _batch(segmentor, image_HW3)
    return segmentor.predict(batch['inputs'], batch['data_samples'])[0]


def _batch(segmentor: nn.Module, image_HW3: np.ndarray) -> dict:
    image_CHW = torch.from_numpy(np.ascontiguousarray(image_HW3.transpose(2, 0, 1)))
    if segmentor.data_preprocessor.channel_conversion:
        image_CHW = image_CHW.flip(0)  # it expects BGR, as files are read
    size = tuple(image_HW3.shape[:2])
    sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size))
    return segmentor.data_preprocessor(dict(inputs=[image_CHW], data_samples=[sample]), False)


@dataclass
class Agreement:
    """Counts how labels and predictions go together, over any number of images.

    Args:
        confusion_CC: int64; row = label, column = prediction, pixels that are ignored left out.
    """

    confusion_CC: np.ndarray

    @classmethod
    def of_classes(cls, classes: int) -> 'Agreement':
        """Starts with no pixels."""
        return cls(np.zeros((classes, classes), np.int64))

    def add(self, label_HW: np.ndarray, prediction_HW: np.ndarray) -> None:
        """Counts one image."""
        classes, labelled_HW = len(self.confusion_CC), label_HW != IGNORE_INDEX
        pairs = label_HW[labelled_HW].astype(np.int64) * classes + prediction_HW[labelled_HW]
        self.confusion_CC += np.bincount(pairs, minlength=classes ** 2).reshape(classes, classes)

    @property
    def pixel_accuracy(self) -> float:
        """Share of labelled pixels that are predicted as labelled; NaN without pixels."""
        return float(_share(np.trace(self.confusion_CC), self.confusion_CC.sum()))

    @property
    def class_iou(self) -> np.ndarray:
        """IoU of each class; NaN for one that neither labels nor predictions show."""
        hits = np.diag(self.confusion_CC)
        return _share(hits, self.confusion_CC.sum(0) + self.confusion_CC.sum(1) - hits)

    @property
    def mean_iou(self) -> float:
        """Mean of :attr:`class_iou` over the classes that occur."""
        iou = self.class_iou
        return float(iou[~np.isnan(iou)].mean()) if not np.isnan(iou).all() else float('nan')


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(divide='ignore', invalid='ignore'):
        return part / np.asarray(whole, np.float64)
