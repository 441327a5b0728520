"""Scores a checkpoint on the labelled target images and keeps some of them for the report."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmseg.evaluation import IoUMetric

from ..engine import AdaptationRunner
from ..ignore_index import IGNORE_INDEX


@dataclass(frozen=True)
class Example:
    """Image RGB uint8 [H, W, 3], label and prediction uint8 [H, W]."""

    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray


@dataclass(frozen=True)
class Scores:
    """Mean IoU and IoU by class name in percent (NaN: neither in labels nor predictions), and some examples."""

    miou: float
    per_class: dict[str, float]
    examples: list[Example]


def evaluate(cfg: Config, checkpoint: Path, num_examples: int) -> Scores:
    """Evaluates on the test images as mmseg's ``IoUMetric`` does, and returns the class scores that it only prints.

    Args:
        cfg: The config that the checkpoint was trained with.
        checkpoint: Its file.
        num_examples: Number of examples, taken at equal distances.
    """
    runner = AdaptationRunner.from_cfg(cfg)
    runner.load_checkpoint(str(checkpoint))
    loader = runner.build_dataloader(cfg.test_dataloader)
    classes, every = loader.dataset.metainfo['classes'], max(1, len(loader.dataset) // num_examples)
    intersection, union, examples, seen = torch.zeros(len(classes)), torch.zeros(len(classes)), [], 0
    runner.model.eval()
    for batch in loader:
        for image, sample in zip(batch['inputs'], runner.model.test_step(batch)):
            prediction, label = sample.pred_sem_seg.data[0].cpu(), sample.gt_sem_seg.data[0].cpu()
            areas = IoUMetric.intersect_and_union(prediction, label, len(classes), IGNORE_INDEX)
            intersection, union = intersection + areas[0], union + areas[1]
            if seen % every == 0 and len(examples) < num_examples:
                examples.append(_example(image, label, prediction))
            seen += 1
    iou = (100 * intersection / union).double()
    return Scores(float(iou.nanmean()), dict(zip(classes, iou.tolist())), examples)


def _example(image_BGR: torch.Tensor, label: torch.Tensor, prediction: torch.Tensor) -> Example:
    image = np.ascontiguousarray(image_BGR.numpy()[::-1].transpose(1, 2, 0))
    return Example(image, *(part.numpy().astype(np.uint8) for part in (label, prediction)))
