"""Rendered files in place of those of a data set: same folders, names, sizes and kinds, for measuring how they are read."""
import os
from pathlib import Path

import cv2
import numpy as np
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..atomic_files import write_synced
from .class_statistics import count_file, label_files, write_statistics
from .street_set import render_scene
from .street_set.classes import TrainId
from .wrapped_datasets import map_leaves

# Width and height of the files of public data sets.
SIZES = dict(GTADataset=(1914, 1052), SYNTHIADataset=(1280, 760), CityscapesDataset=(2048, 1024), ACDCDataset=(1920, 1080),
             DarkZurichDataset=(1920, 1080))
OTHER_SIZE = (1024, 768)
_BLUR = 0.8  # pixels; a camera's images, whose colours are interpolated, compress as well as renderings with it do


def write_stand_ins(config: dict, folder: Path, count: int, size: tuple[int, int] | None = None) -> dict:
    """Writes street scenes for each data set of a paired dataset, and class statistics of the sources.

    Classes that no rendered label has enough pixels of for ``rare_class_sampling`` are left out of the statistics.

    Args:
        config: Config of a ``UDADataset`` or ``UnlabelledDataset``.
        folder: Where; what is there is kept.
        count: Images of each data set.
        size: Width and height; None takes :data:`SIZES`.

    Returns:
        The config on these files.
    """
    rare = config.get('rare_class_sampling')
    changed = {key: value for key, value in config.items() if key not in ('translated', 'cache')}
    for domain in ('source', 'target'):
        if config.get(domain) is not None:
            roots = iter(range(10**6))
            changed[domain] = map_leaves(config[domain], lambda leaf: _write_leaf(
                leaf, domain, folder / f'{domain}{next(roots)}', count, size, rare))  # noqa: B023
    if rare is not None:
        changed['rare_class_sampling'] = {key: value for key, value in rare.items() if key != 'stats'}
    return changed


def _write_leaf(leaf: dict, domain: str, root: Path, count: int, size: tuple[int, int] | None, rare: dict | None) -> dict:
    metainfo = leaf.get('metainfo') or {}
    if isinstance(metainfo.get('classes'), str) and not os.path.isfile(metainfo['classes']):
        metainfo = dict(classes=[member.name.lower() for member in TrainId])
    leaf = dict(leaf, data_root=str(root), ann_file='', backend_args=None, **(dict(metainfo=metainfo) if metainfo else {}))
    dataset: BaseSegDataset = DATASETS.build(dict(leaf, pipeline=[], lazy_init=True))
    classes = len(dataset.metainfo.get('classes') or ()) or len(TrainId)
    suffix = dataset.img_suffix if isinstance(dataset.img_suffix, str) else dataset.img_suffix[0]
    for index in range(count):
        image = Path(dataset.data_prefix['img_path'], f'{index:05}{suffix}')
        label = dataset.data_prefix.get('seg_map_path')
        _write_sample(domain, index, size or SIZES.get(leaf['type'], OTHER_SIZE), image,
                      label and Path(label, f'{index:05}{dataset.seg_map_suffix}'), classes)
    if domain == 'source' and rare is not None:
        _write_statistics(DATASETS.build(dict(leaf, pipeline=[])), root, rare.get('min_pixels', 3000))
    return leaf


def _write_sample(domain: str, index: int, size: tuple[int, int], image: Path, label: Path | None, classes: int) -> None:
    if image.exists() and (label is None or label.exists()):
        return
    image_HWC, label_HW = render_scene(domain, index, size)
    files = {image: cv2.GaussianBlur(image_HWC, (0, 0), _BLUR) if domain == 'target' else image_HWC}
    if label is not None:
        files[label] = np.where(label_HW == 255, 255, label_HW % classes).astype(np.uint8)
    for path, pixels in files.items():
        data = cv2.imencode(path.suffix, pixels)[1]
        write_synced(path, lambda stream: stream.write(data.tobytes()))  # noqa: B023


def _write_statistics(dataset: BaseSegDataset, root: Path, min_pixels: int) -> None:
    entries = [count_file(info) for info in label_files(dataset)]
    most = {key: max(entry.get(key, 0) for entry in entries) for entry in entries for key in entry if key != 'file'}
    kept = {key for key, pixels in most.items() if pixels > min_pixels} | {'file'}
    if len(kept) == 1:
        raise ValueError(f'no class has more than min_pixels={min_pixels} pixels in a rendered label: give a larger --size, '
                         'or lower train_dataloader.dataset.rare_class_sampling.min_pixels')
    write_statistics([{key: value for key, value in entry.items() if key in kept} for entry in entries], str(root))
