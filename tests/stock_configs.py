"""Stock configs of mmseg's ``.mim/configs``, data for them, and one step of their adaptation."""
from pathlib import Path

import cv2
import mmseg
import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmseg.registry import DATASETS, MODELS

STOCK = Path(mmseg.__file__).parent / '.mim/configs'
CONFIGS = ['pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024',
           'segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024',
           'deeplabv3plus/deeplabv3plus_r50-d8_4xb4-80k_ade20k-512x512', 'hrnet/fcn_hr18s_4xb2-40k_cityscapes-512x1024',
           'mobilenet_v2/mobilenet-v2-d8_deeplabv3plus_4xb2-80k_cityscapes-512x1024',
           'upernet/upernet_r50_4xb4-20k_voc12aug-512x512']
SIDE = 64


def make_data(folder: Path) -> Path:
    """Four images with labels in the folders of Cityscapes and of ADE20K, and four to adapt to in sub-folders."""
    draws = np.random.default_rng(0)
    for index in range(4):
        image = draws.integers(0, 255, (SIDE + 16, SIDE + 32, 3), dtype=np.uint8)
        label = np.full(image.shape[:2], 1 + index % 2, np.uint8)
        for path, content in ((f'images/a_{index}_leftImg8bit.png', image),
                              (f'labels/a_{index}_gtFine_labelTrainIds.png', label),
                              (f'images/a_{index}_leftImg8bit.jpg', image),
                              (f'labels/a_{index}_leftImg8bit.png', label),
                              (f'target/city/t_{index}.jpg', image)):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / path), content)
    (folder / 'names.txt').write_text('\n'.join(f'a_{index}_leftImg8bit' for index in range(4)))
    return folder


def shrunk(path: str, data: Path) -> Config:
    """The stock config with small crops, as a user changes it, and data at hand; the wrapper of VOC is taken off."""
    config = Config.fromfile(STOCK / f'{path}.py')
    if 'pipeline' not in config.train_dataloader.dataset:
        config.train_dataloader.dataset = config.train_dataloader.dataset.datasets[0]
    for step in config.train_dataloader.dataset.pipeline:
        if step.type == 'RandomCrop':
            step.crop_size = (SIDE, SIDE)
        if step.type == 'RandomResize':
            step.scale = (SIDE + 32, SIDE + 16)
    names = 'names.txt' if 'voc' in path else ''
    config.train_dataloader.dataset.update(data_root=str(data), ann_file=names, data_prefix=dict(
        img_path='images', seg_map_path='labels'))
    config.model.pretrained = config.model.backbone.init_cfg = None
    return config


def adapted_step(config: Config) -> tuple[dict, dict, object, object]:
    """Trains one step; returns the logged losses, the batch, the data set and the model."""
    dataset = DATASETS.build(config.train_dataloader.dataset)
    batch = pseudo_collate([dataset[0], dataset[1]])
    model = MODELS.build(config.model).train()
    return model.train_step(batch, build_optim_wrapper(model, config.optim_wrapper)), batch, dataset, model
