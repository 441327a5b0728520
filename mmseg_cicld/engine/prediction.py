"""Labels of images from a trained or exported segmentor: what mmseg's own inference gives, in less time.

Shape suffixes: C channels of the logits, H and W height and width.
"""
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmseg.registry import TRANSFORMS
from mmseg.utils import register_all_modules
from torch import Tensor, nn
from torch.nn import functional as F

from ..datasets.class_count import check_num_classes
from ..datasets.file_reading import DataFileError
from ..models.inference import lean_segmentor
from ..models.label_rule import LabelRule
from .checkpoint_reading import read_checkpoint
from .exporting import exported_segmentor
from .segmentor_files import found_files


def load_model(source: Path, config: str | None, device: str) -> nn.Module:
    """Loads the network that a config evaluates, in the form that predicts fastest.

    Args:
        source: Folder with ``segmentor.py`` and ``segmentor.pth``, work dir of a training, or .pth file.
        config: Config of a .pth file; None is the .py file beside it.
        device: Where the network goes.

    Raises:
        DataFileError: If there is no checkpoint or no config, or the checkpoint names no classes.
    """
    file, weights = found_files(source, config)
    register_all_modules()
    cfg, checkpoint = Config.fromfile(file), read_checkpoint(weights)
    meta = checkpoint.get('meta', {}).get('dataset_meta') or {}
    if not meta.get('classes'):
        raise DataFileError(f'{weights} names no classes: give a checkpoint of a training, or export it again')
    if cfg.get('train_dataloader') is not None:  # heads without num_classes take it from the dataset
        check_num_classes(cfg)
    model = lean_segmentor(exported_segmentor(cfg, checkpoint, weights, keep_backbone=True)[1]).to(device)
    model.dataset_meta, model.cfg = meta, cfg
    return model


@torch.inference_mode()
def predict(model: nn.Module, image_HW3: np.ndarray, tile: int | None = None, overlap: int = 0,
            with_probabilities: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
    """Predicts one image; logits are averaged where tiles meet.

    Args:
        model: Of :func:`load_model`.
        image_HW3: uint8 BGR.
        tile: Side of square tiles in pixels; None takes the image whole.
        overlap: Pixels that neighbouring tiles share.
        with_probabilities: Whether they are computed, which takes as long as the labels.

    Returns:
        Labels uint8 [H, W], and float32 probabilities [classes, H, W] or None.
    """
    scaled_HW3 = at_test_scale(model, image_HW3)
    logits_1CHW = window_logits(model, scaled_HW3)[None] if tile is None else tiled_logits(model, scaled_HW3, tile, overlap)
    if logits_1CHW.shape[2:] != image_HW3.shape[:2]:
        logits_1CHW = F.interpolate(logits_1CHW, image_HW3.shape[:2], mode='bilinear', align_corners=model.align_corners)
    rule = LabelRule.of_head(main_head(model))
    labels_HW = rule.labels(logits_1CHW)[0].numpy().astype(np.uint8)
    return labels_HW, rule.probabilities(logits_1CHW)[0].numpy() if with_probabilities else None


def tiled_logits(model: nn.Module, image_HW3: np.ndarray, tile: int, overlap: int) -> Tensor:
    """Returns float32 [1, C, H, W] of an image that is predicted in tiles."""
    height, width = image_HW3.shape[:2]
    total_CHW, count_HW = torch.zeros(main_head(model).out_channels, height, width), torch.zeros(height, width)
    for top in starts(height, tile, overlap):
        for left in starts(width, tile, overlap):
            window = np.s_[top:top + tile, left:left + tile]
            total_CHW[(slice(None), *window)] += window_logits(model, image_HW3[window])
            count_HW[window] += 1
    return (total_CHW / count_HW)[None]


def main_head(model: nn.Module) -> nn.Module:
    """Returns the head that predicts, the last one of a cascade."""
    return model.decode_head[-1] if isinstance(model.decode_head, nn.ModuleList) else model.decode_head


def at_test_scale(model: nn.Module, image_HW3: np.ndarray) -> np.ndarray:
    """Resizes an image as the test pipeline of the model's config does."""
    results: dict[str, Any] = dict(img=image_HW3, img_shape=image_HW3.shape[:2])
    for step in model.cfg.get('test_pipeline') or ():
        if step['type'] == 'Resize':
            results = TRANSFORMS.build(step)(results)
    return results['img']


def starts(side: int, tile: int, overlap: int) -> list[int]:
    """Returns where tiles begin so that all lie inside and neighbours share ``overlap`` pixels or more."""
    if side <= tile:
        return [0]
    return [*range(0, side - tile, tile - overlap), side - tile]


def window_logits(model: nn.Module, image_HW3: np.ndarray) -> Tensor:
    """Returns float32 [classes, H, W] of one image at its own size."""
    batch = model.data_preprocessor(dict(inputs=[torch.from_numpy(image_HW3.copy()).permute(2, 0, 1)]), False)
    shape = image_HW3.shape[:2]
    meta = dict(img_shape=shape, ori_shape=shape, pad_shape=tuple(batch['inputs'].shape[2:]), padding_size=[0] * 4)
    return model.inference(batch['inputs'], [meta])[0].float().cpu()
