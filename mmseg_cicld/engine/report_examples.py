"""Predictions on a few images of a training, for its report.

Shape suffixes: H and W height and width.
"""
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from torch import nn
from torch.utils.data import Dataset

from ..datasets import check_num_classes
from ..visualization.examples import Example, save_examples
from .checkpoint_reading import read_checkpoint

SOURCE_ONLY, PSEUDO_LABEL = 'source-only', 'pseudo-label'


def write_examples(work_dir: Path, config: Config, checkpoint: Path, count: int, *,
                   source_only: tuple[Config, Path] | None = None, device: str = 'cpu') -> None:
    """Predicts validation images, and leaves them where :func:`write_training_report` finds them.

    Without ``val_dataloader`` they are images of the target that is trained on, without labels. The networks are the
    one that the config evaluates, its teacher, whose labels on these images are pseudo-labels, and source-only.

    Args:
        work_dir: Folder of the training.
        config: Its config.
        checkpoint: Which weights.
        count: Number of images, at least 1, evenly spaced over the data set.
        source_only: Config and checkpoint of the training on the source alone.
        device: Where the networks run.

    Raises:
        CheckpointError: If a checkpoint cannot be read.
        RuntimeError: If its tensors are not those of the model.
        ValueError: If the config has no images to predict.
    """
    init_default_scope('mmseg')
    for each in (config, *([] if source_only is None else source_only[:1])):
        check_num_classes(each)
    dataset = _dataset(config)
    places = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)).tolist()
    model = _trained(config, checkpoint, device)
    own = 'adapted' if getattr(model, 'teacher', None) is not None else 'prediction'
    networks = {own: getattr(model, 'evaluated', model)}
    if getattr(model, 'teacher', None) is not None:
        networks[PSEUDO_LABEL] = model.teacher.network
    if source_only is not None:
        other = _trained(*source_only, device)
        networks = {SOURCE_ONLY: getattr(other, 'evaluated', other), **networks}
    sure = PSEUDO_LABEL if PSEUDO_LABEL in networks else own
    examples, meta = [_example(dataset[place], networks, sure) for place in places], dataset.metainfo
    save_examples(work_dir, examples, checkpoint.name, meta.get('classes') or (), meta.get('palette') or ())


def _dataset(config: Config) -> Dataset:
    """Builds the validation set or, without one, the unlabelled target that is trained on, prepared as for tests."""
    loader = config.get('val_dataloader') or config.get('test_dataloader')
    settings = None if loader is None else loader['dataset']
    if settings is None and (target := config.train_dataloader.dataset.get('target')) is not None:
        steps = [step for step in target['pipeline'] if step['type'].startswith(('LoadImage', 'Resize'))]
        settings = dict(target, pipeline=[*steps, dict(type='PackSegInputs')])
    if settings is None:
        raise ValueError('the config has no images to predict: neither val_dataloader nor '
                         'train_dataloader.dataset.target. Give --images 0 to report without predictions')
    dataset = DATASETS.build(settings)
    if len(dataset) == 0:
        raise ValueError('the images to predict are not there: correct val_dataloader.dataset, or give --images 0')
    return dataset


def _trained(config: Config, checkpoint: Path, device: str) -> nn.Module:
    model = MODELS.build(config.model)
    loaded = read_checkpoint(checkpoint)
    model.load_state_dict(loaded.get('state_dict', loaded))
    return model.to(device).eval()


@torch.no_grad()
def _example(item: dict, networks: dict[str, nn.Module], sure: str) -> Example:
    """Predicts one image with all networks, at its own size."""
    predictions, confidence_HW = {}, None
    for name, network in networks.items():
        sample, = network.test_step(pseudo_collate([item]))
        label_HW = sample.pred_sem_seg.data[0].cpu()
        predictions[name] = label_HW.numpy().astype(np.uint8)
        if name == sure:
            confidence_HW = _confidence(sample.seg_logits.data.float().cpu(), label_HW).numpy()
    size = predictions[sure].shape
    label = item['data_samples'].get('gt_sem_seg')
    label_HW = None if label is None else _resized(label.data[0].numpy().astype(np.uint8), size)
    picture_HW3 = _resized(_picture(item['inputs']), size, cv2.INTER_AREA)
    return Example(picture_HW3, label_HW, predictions, confidence_HW)


def _picture(image_CHW: torch.Tensor) -> np.ndarray:
    """Returns RGB uint8 [H, W, 3]; one channel in grey, of more than three the first three."""
    shown_3HW = image_CHW[:3].flip(0) if len(image_CHW) >= 3 else image_CHW[:1].expand(3, -1, -1)
    if shown_3HW.dtype != torch.uint8:
        shown_3HW = (shown_3HW * (255 / shown_3HW.max().clamp(min=1))).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(shown_3HW.permute(1, 2, 0).numpy())


def _resized(picture: np.ndarray, size: tuple[int, int], interpolation: int = cv2.INTER_NEAREST) -> np.ndarray:
    return picture if picture.shape[:2] == size else cv2.resize(picture, size[::-1], interpolation=interpolation)


def _confidence(logits_CHW: torch.Tensor, label_HW: torch.Tensor) -> torch.Tensor:
    """Returns the probability of each pixel's label; mmseg gives a single channel as a probability already."""
    if len(logits_CHW) > 1:
        return logits_CHW.softmax(dim=0).amax(dim=0)
    return torch.where(label_HW == 1, logits_CHW[0], 1 - logits_CHW[0])
