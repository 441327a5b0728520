"""Tiny datasets in the layouts of the dataset classes, written into a temporary folder."""
from pathlib import Path

import cv2
import numpy as np

CLASSES = ('road', 'car', 'sign')
SOURCE_STEPS = [dict(type='LoadImageStrictly'), dict(type='LoadLabelStrictly')]
PACK = dict(type='PackUDAInputs')


def write_image(path: Path, image: np.ndarray) -> Path:
    """Writes any image that OpenCV can encode, also below folders with any characters in their names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def random_image(seed: int, height: int = 24, width: int = 40) -> np.ndarray:
    """uint8 [H, W, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def random_label(seed: int, height: int = 24, width: int = 40, num_classes: int = 3) -> np.ndarray:
    """uint8 [H, W] of 4 x 4 blocks, with some ignored ones."""
    ids = np.random.default_rng(seed).integers(0, num_classes + 1, (-(-height // 4), -(-width // 4)))
    ids[ids == num_classes] = 255
    return np.kron(ids, np.ones((4, 4), int))[:height, :width].astype(np.uint8)


def write_folder(root: Path, count: int, labelled: bool = True, height: int = 24, width: int = 40,
                 seed: int = 0) -> Path:
    """Writes images/ and labels/ with ``count`` files."""
    for i in range(count):
        write_image(root / 'images' / f'{i:03}.png', random_image(seed + i, height, width))
        if labelled:
            write_image(root / 'labels' / f'{i:03}.png', random_label(seed + i, height, width))
    return root


def folder_config(root: Path, labelled: bool = True, pipeline: list | None = None, **kwargs: object) -> dict:
    """Config of a FolderDataset in the layout of :func:`write_folder`, built fast (serialising collects garbage)."""
    prefix = dict(img_path='images', seg_map_path='labels') if labelled else dict(img_path='images')
    default = [*(SOURCE_STEPS if labelled else SOURCE_STEPS[:1]), PACK]
    return dict(type='FolderDataset', data_root=str(root), data_prefix=prefix, metainfo=dict(classes=list(CLASSES)),
                pipeline=default if pipeline is None else pipeline, serialize_data=False, **kwargs)


def random_crops(size: tuple[int, int] = (16, 16), labelled: bool = True) -> list[dict]:
    """Pipeline with every random part that the configs use."""
    return [*(SOURCE_STEPS if labelled else SOURCE_STEPS[:1]),
            dict(type='Resize', scale=(60, 40), keep_ratio=True),
            dict(type='RandomCrop', crop_size=size, cat_max_ratio=0.75 if labelled else 1.0),
            dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion'), PACK]
