"""Predicts images with an exported segmentor: label images in chosen ids, overlays with a legend, probabilities.

MODEL is a folder that tools/model_converters/export_segmentor.py or tools/adapt.py wrote, the work dir of a training
(its best checkpoint, else the last one), or a checkpoint of either or of mmseg with its config.
"""
import argparse
import glob
import itertools
from collections.abc import Iterator
from pathlib import Path

import mmseg_cicld  # noqa: F401  isort: skip (repairs must come before mmseg is imported)

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmseg.registry import TRANSFORMS
from mmseg.utils import register_all_modules
from torch import nn
from torch.nn import functional as F

from mmseg_cicld.command_line import one_line_errors
from mmseg_cicld.datasets import check_num_classes
from mmseg_cicld.datasets.cityscapes_ids import LABEL_IDS
from mmseg_cicld.datasets.file_reading import DataFileError, read_image
from mmseg_cicld.datasets.file_writing import write_png
from mmseg_cicld.datasets.folder_dataset import IMAGE_SUFFIXES
from mmseg_cicld.engine import read_checkpoint
from mmseg_cicld.engine.exporting import exported_segmentor
from mmseg_cicld.engine.segmentor_files import found_files
from mmseg_cicld.models.label_rule import LabelRule

VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm')
IDS = dict(train=None, cityscapes=LABEL_IDS, acdc=LABEL_IDS)  # ACDC's server takes Cityscapes label ids


def main() -> None:
    """Predicts."""
    args = parse_arguments()
    with one_line_errors():
        model = load_model(Path(args.model), args.config, args.device)
        ids = id_table(args.ids, len(model.dataset_meta['classes']))
        number = 0
        for name, image_HW3 in images(args.input):
            prediction = predict(model, image_HW3, args.tile, args.overlap)
            write(Path(args.out), name, image_HW3, prediction, ids, model.dataset_meta, args)
            number += 1
    print(f'{number} predictions in {args.out}')


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', help='folder with segmentor.py and segmentor.pth, work dir of a training, or .pth file')
    parser.add_argument('--config', help='config of a .pth file, which is a program: run none that you do not trust '
                        '(default: the .py file beside it)')
    parser.add_argument('input', help='folder (with its sub-folders), image, video, or glob in quotes')
    parser.add_argument('-o', '--out', required=True, help='output folder: labels/, overlays/, probabilities/')
    parser.add_argument('--ids', choices=IDS, default='train', help='numbers of the label images (default: class ids)')
    parser.add_argument('--no-overlays', action='store_true', help='write no pictures')
    parser.add_argument('--probabilities', action='store_true', help='write float16 [classes, height, width] as npz')
    parser.add_argument('--tile', type=int, help='side of square tiles, for images that do not fit in memory')
    parser.add_argument('--overlap', type=int, default=128, help='pixels that neighbouring tiles share (default: 128)')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu',
                        help='(default: %(default)s)')
    args = parser.parse_args()
    if args.tile is not None and not 0 <= args.overlap < args.tile:
        parser.error(f'--overlap {args.overlap} must be 0 or more and less than --tile {args.tile}')
    return args


def load_model(source: Path, config: str | None, device: str) -> nn.Module:
    """Loads the network that a config evaluates."""
    file, weights = found_files(source, config)
    register_all_modules()
    cfg, checkpoint = Config.fromfile(file), read_checkpoint(weights)
    meta = checkpoint.get('meta', {}).get('dataset_meta') or {}
    if not meta.get('classes'):
        raise DataFileError(f'{weights} names no classes: give a checkpoint of a training, or export it again')
    if cfg.get('train_dataloader') is not None:  # heads without num_classes take it from the dataset
        check_num_classes(cfg)
    model = exported_segmentor(cfg, checkpoint, weights, keep_backbone=True)[1].to(device).eval()
    model.dataset_meta, model.cfg = meta, cfg
    return model


def id_table(kind: str, classes: int) -> np.ndarray:
    """Returns uint8 [classes], the number that label images have for each class."""
    if IDS[kind] is None:
        return np.arange(classes, dtype=np.uint8)
    if classes != len(LABEL_IDS):
        raise DataFileError(f'--ids {kind} is for the 19 classes of Cityscapes, the model has {classes}: use '
                            '--ids train')
    return np.array(IDS[kind], np.uint8)


def images(source: str) -> Iterator[tuple[str, np.ndarray]]:
    """Gives a name without suffix, relative to the input, and uint8 [H, W, 3] (BGR) of each image."""
    path = Path(source)
    if path.suffix.lower() in VIDEOS and path.is_file():
        yield from frames(path)
        return
    if path.is_dir():
        files, root = sorted(path.rglob('*')), path
    else:
        files = [path] if path.is_file() else [Path(name) for name in sorted(glob.glob(source, recursive=True))]
        fixed = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts[:-1])
        root = path.parent if path.is_file() else Path(*fixed)
    files = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise DataFileError(f'{source} holds no image {IMAGE_SUFFIXES}: give a folder, an image, a video {VIDEOS}, or '
                            'a glob in quotes')
    names = [file.relative_to(root).with_suffix('').as_posix() for file in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataFileError(f'several images would be written to the same name: {", ".join(twice[:3])}; rename one')
    for name, file in zip(names, files):
        yield name, read_image(str(file))


def frames(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Gives the frames of a video in their order."""
    video, number = cv2.VideoCapture(str(path)), 0
    try:
        while (read := video.read())[0]:
            yield f'{path.stem}_{number:06d}', read[1]
            number += 1
    finally:
        video.release()
    if not number:
        raise DataFileError(f'the video {path} has no frame that can be read: copy it again, or convert it to mp4')


@torch.no_grad()
def predict(model: nn.Module, image_HW3: np.ndarray, tile: int | None, overlap: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels uint8 [H, W] and float32 probabilities [classes, H, W]; logits are averaged where tiles meet."""
    scaled_HW3 = at_test_scale(model, image_HW3)
    height, width = scaled_HW3.shape[:2]
    head = model.decode_head[-1] if isinstance(model.decode_head, nn.ModuleList) else model.decode_head
    total_CHW = torch.zeros(head.out_channels, height, width)
    count_HW = torch.zeros(height, width)
    for top in starts(height, tile, overlap):
        for left in starts(width, tile, overlap):
            window = np.s_[top:top + (tile or height), left:left + (tile or width)]
            total_CHW[(slice(None), *window)] += window_logits(model, scaled_HW3[window])
            count_HW[window] += 1
    logits_1CHW = F.interpolate((total_CHW / count_HW)[None], image_HW3.shape[:2], mode='bilinear',
                                align_corners=model.align_corners)
    rule = LabelRule.of_head(head)
    labels_1HW = rule.labels_and_confidence(logits_1CHW)[0]
    return labels_1HW[0].numpy().astype(np.uint8), rule.probabilities(logits_1CHW)[0].numpy()


def at_test_scale(model: nn.Module, image_HW3: np.ndarray) -> np.ndarray:
    """Resizes an image as the test pipeline of the model's config does."""
    results = dict(img=image_HW3, img_shape=image_HW3.shape[:2])
    for step in model.cfg.get('test_pipeline') or ():
        if step['type'] == 'Resize':
            results = TRANSFORMS.build(step)(results)
    return results['img']


def starts(side: int, tile: int | None, overlap: int) -> list[int]:
    """Returns where tiles begin so that all lie inside and neighbours share ``overlap`` pixels or more."""
    if tile is None or side <= tile:
        return [0]
    return [*range(0, side - tile, tile - overlap), side - tile]


def window_logits(model: nn.Module, image_HW3: np.ndarray) -> torch.Tensor:
    """Returns float32 [classes, H, W] of one image at its own size."""
    batch = model.data_preprocessor(dict(inputs=[torch.from_numpy(image_HW3.copy()).permute(2, 0, 1)]), False)
    shape = image_HW3.shape[:2]
    meta = dict(img_shape=shape, ori_shape=shape, pad_shape=tuple(batch['inputs'].shape[2:]), padding_size=[0] * 4)
    return model.inference(batch['inputs'], [meta])[0].float().cpu()


def write(out: Path, name: str, image_HW3: np.ndarray, prediction: tuple[np.ndarray, np.ndarray], ids: np.ndarray,
          meta: dict, args: argparse.Namespace) -> None:
    """Writes what is asked for of one image."""
    classes_HW, probabilities_CHW = prediction
    write_png(str(out / 'labels' / f'{name}.png'), ids[classes_HW])
    if not args.no_overlays:
        write_png(str(out / 'overlays' / f'{name}.png'), overlay(image_HW3, classes_HW, meta))
    if args.probabilities:
        path = out / 'probabilities' / f'{name}.npz'
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, probabilities=probabilities_CHW.astype(np.float16))


def overlay(image_HW3: np.ndarray, classes_HW: np.ndarray, meta: dict) -> np.ndarray:
    """Returns image and colours of the classes, half each, and below them the names of the classes that occur."""
    palette = np.array(meta.get('palette') or np.random.default_rng(0).integers(0, 255, (256, 3)), np.uint8)[:, ::-1]
    blended = cv2.addWeighted(image_HW3, 0.5, palette[classes_HW], 0.5, 0)
    present = np.unique(classes_HW)
    columns = max(1, image_HW3.shape[1] // 150)
    legend = np.full((20 * -(-len(present) // columns) + 4, image_HW3.shape[1], 3), 255, np.uint8)
    for index, class_id in enumerate(present):
        left, top = 4 + index % columns * 150, 4 + index // columns * 20
        cv2.rectangle(legend, (left, top), (left + 14, top + 14), palette[class_id].tolist(), -1)
        cv2.putText(legend, meta['classes'][class_id], (left + 20, top + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.42,
                    (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([blended, legend])


if __name__ == '__main__':
    main()
