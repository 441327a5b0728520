"""A small labelled dataset, networks that translate and judge it, and the config that joins them."""
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from tiny_diffusion import tiny_diffusion
from torch import nn

CLASSES = ('red', 'green', 'blue')
SIZE = (16, 24)


@MODELS.register_module()
class SeesColours(nn.Module):
    """Hands images on as they are."""

    def forward(self, images_B3HW: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (images_B3HW, )


def colour_segmentor(classes: int = 3) -> dict:
    """Config of a segmentor whose logits are a linear function of the colour of a pixel."""
    return dict(
        type='EncoderDecoder', backbone=dict(type='SeesColours'),
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[0.] * 3, std=[32.] * 3, bgr_to_rgb=True),
        decode_head=dict(type='FCNHead', in_channels=3, channels=3, num_convs=0, concat_input=False, dropout_ratio=0.0,
                         num_classes=classes, align_corners=False),
        train_cfg=dict(), test_cfg=dict(mode='whole'))


def write_segmentor(folder: Path, classes: int = 3, order: tuple[int, ...] = (0, 1, 2)) -> dict:
    """Writes a segmentor that calls the strongest colour by its class; ``order`` mixes up the classes."""
    folder.mkdir(parents=True, exist_ok=True)
    weight = torch.zeros(classes, 3, 1, 1)
    for class_id, channel in enumerate(order):
        weight[class_id, channel] = 1
    state = {'decode_head.conv_seg.weight': weight, 'decode_head.conv_seg.bias': torch.zeros(classes)}
    torch.save(dict(state_dict=state), folder / 'colours.pth')
    imports = dict(custom_imports=dict(imports=['tiny_translation']))  # for programs of their own
    Config(dict(model=colour_segmentor(classes), **imports)).dump(folder / 'colours.py')
    return dict(config=str(folder / 'colours.py'), checkpoint=str(folder / 'colours.pth'))


def write_source(root: Path, count: int = 5, size: tuple[int, int] = SIZE, folder: str = 'town') -> dict:
    """Writes images whose colours show their class, with labels in blocks, and gives the config of the dataset."""
    for index in range(count):
        streams = np.random.default_rng(index)
        label_HW = np.kron(streams.integers(0, 4, (size[0] // 4, size[1] // 4)), np.ones((4, 4), int))
        image_HW3 = streams.integers(0, 60, (*size, 3)) + 190 * (label_HW[..., None] == np.arange(3))
        label_HW[label_HW == 3] = 255
        for kind, pixels in (('images', image_HW3[..., ::-1]), ('labels', label_HW)):
            path = root / kind / folder / f'{index:03}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode('.png', pixels.astype(np.uint8))[1].tobytes())
    return dict(type='FolderDataset', data_root=str(root), metainfo=dict(classes=list(CLASSES)),
                data_prefix=dict(img_path='images', seg_map_path='labels'), serialize_data=False,
                pipeline=[dict(type='LoadImageStrictly')])


def write_config(folder: Path, count: int = 5, size: tuple[int, int] = SIZE, **changes: object) -> dict:
    """Writes a dataset, a diffusion model and a segmentor, and gives the config of an unguided translation."""
    source = write_source(folder / 'source', count, size)
    tiny_diffusion().save_folder(folder / 'diffusion')
    return dict(source=source, diffusion=str(folder / 'diffusion'), segmentor=None, guidance=None,
                translation=dict(level=0.5, steps=2), batch_size=2, report=None) | changes


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder with what is in them; without the lock, which names its process."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob('*'))
            if path.is_file() and not path.match('running.*')}
