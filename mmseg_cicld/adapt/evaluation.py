"""Scores networks on labelled target images, with both normalisations of their batch norms."""
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.evaluation import IoUMetric
from mmseg.registry import MODELS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..datasets.class_count import check_num_classes
from ..engine.checkpoint_reading import read_checkpoint
from ..ignore_index import IGNORE_INDEX
from ..models.segmentor_protocol import TrainableSegmentor
from .data_description import DataDescription

RUNNING, TARGET = 'running statistics', 'statistics of the target'
PLAIN = 'segmentor'
_BATCHES = 25  # of target images, from which the statistics of the target are taken


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
    examples: list[Example] = field(default_factory=list)


def networks(config: Config, checkpoint: Path) -> dict[str, nn.Module]:
    """Builds student and, where there is one, teacher of a checkpoint, in evaluation mode on the device.

    Of a config and checkpoint of a plain segmentor there is that alone.
    """
    config = Config(config.to_dict())
    check_num_classes(config)
    model = MODELS.build(config.model)
    model.load_state_dict(read_checkpoint(checkpoint)['state_dict'])
    model.to('cuda' if torch.cuda.is_available() else 'cpu').eval()
    if 'segmentor' not in config.model:
        return {PLAIN: model}
    found = dict(student=model.student)
    return found if model.teacher is None else found | dict(teacher=model.teacher.network)


def evaluate_checkpoint(config: Config, checkpoint: Path, data: DataDescription, num_examples: int
                        ) -> dict[str, dict[str, Scores]]:
    """Scores each network of a checkpoint with both normalisations, by network and normalisation.

    Args:
        config: The config that it was trained with, with a validation.
        checkpoint: Its file.
        data: Folders and classes.
        num_examples: Number of examples of each.
    """
    loader = dict(
        batch_size=config.train_dataloader.batch_size, num_workers=0, sampler=dict(type='KeyedInfiniteSampler'),
        dataset=dict(type='UnlabelledDataset', target=data.target.dataset(config.target_pipeline, data.metainfo)))
    labelled = dict(config.val_dataloader, dataset={key: value for key, value in config.val_dataloader.dataset.items()
                                                    if key != 'indices'})  # all of them
    found: dict[str, dict[str, Scores]] = {}
    for name, network in networks(config, checkpoint).items():
        found[name] = {RUNNING: score(network, labelled, num_examples)}
        if any(isinstance(module, _BatchNorm) for module in network.modules()):
            with target_statistics(network, loader):
                found[name][TARGET] = score(network, labelled)
    return found


def score(network: nn.Module, loader: dict, num_examples: int = 0) -> Scores:
    """Scores a network as mmseg's ``IoUMetric`` does, and returns the class scores that it only prints.

    Args:
        network: An mmseg segmentor in evaluation mode.
        loader: Config of a data loader with labels.
        num_examples: Number of examples, taken at equal distances.
    """
    built = Runner.build_dataloader(dict(loader, num_workers=0, persistent_workers=False))
    classes, every = built.dataset.metainfo['classes'], max(1, len(built.dataset) // max(1, num_examples))
    intersection, union, examples, seen = torch.zeros(len(classes)), torch.zeros(len(classes)), [], 0
    for batch in built:
        for image, sample in zip(batch['inputs'], network.test_step(batch)):
            prediction, label = sample.pred_sem_seg.data[0].cpu(), sample.gt_sem_seg.data[0].cpu()
            areas = IoUMetric.intersect_and_union(prediction, label, len(classes), IGNORE_INDEX)
            intersection, union = intersection + areas[0], union + areas[1]
            if seen % every == 0 and len(examples) < num_examples:
                examples.append(_example(image, label, prediction))
            seen += 1
    iou = (100 * intersection / union).double()
    return Scores(float(iou.nanmean()), dict(zip(classes, iou.tolist())), examples)


@contextlib.contextmanager
def target_statistics(network: nn.Module, loader: dict) -> Iterator[None]:
    """Lets the batch norms of a network use the mean and variance of target images while the block runs.

    They are taken from training images of the target, which need no labels (AdaBN, Li et al., 2016).

    Args:
        network: A segmentor in evaluation mode.
        loader: Config of a data loader of :class:`UnlabelledDataset`.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    kept = [(norm, norm.momentum, {name: value.clone() for name, value in norm.named_buffers()}) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    try:
        with torch.no_grad():
            built = Runner.build_dataloader(loader, seed=0)
            for batch in islice(built, min(_BATCHES, -(-len(built.dataset) // built.batch_size))):
                images = network.data_preprocessor(batch['target'], False)['inputs']
                TrainableSegmentor(network).predict(images)
        network.eval()
        yield
    finally:
        network.eval()
        for norm, momentum, buffers in kept:
            norm.momentum = momentum
            norm.load_state_dict(buffers, strict=False)


def _example(image_BGR: torch.Tensor, label: torch.Tensor, prediction: torch.Tensor) -> Example:
    image = np.ascontiguousarray(image_BGR.numpy()[::-1].transpose(1, 2, 0))
    return Example(image, *(part.numpy().astype(np.uint8) for part in (label, prediction)))
