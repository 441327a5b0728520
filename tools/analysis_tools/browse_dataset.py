"""Draws the batches that a training sees: source and target images after all transforms, labels, ClassMix images.

The pictures of iteration n show what iteration n of a training in one process reads and pastes. Pixels of the mixed
label that the teacher would fill in are black: there is no teacher here.
"""
import argparse
from pathlib import Path

import mmseg_cicld  # noqa: F401  isort: skip (repairs must come before mmseg is imported)

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.utils import track_iter_progress
from mmseg.registry import DATASETS
from mmseg.utils import register_all_modules

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.datasets import DrawKey, UDADataset
from mmseg_cicld.ignore_index import IGNORE_INDEX
from mmseg_cicld.random_streams import KeyedStreams
from mmseg_cicld.uda.mixing import NUM_IDS, choose_classes, class_mix, mix_masks, present_ids
from mmseg_cicld.uda.strong_augmentation import StrongAugmentation
from mmseg_cicld.visualization import compose_panel, step_tiles


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_options(parser)
    parser.add_argument('--output-dir', type=Path, default=Path('work_dirs/browse'),
                        help='folder of the pictures (default: %(default)s)')
    parser.add_argument('--number', type=int, default=5, help='number of iterations to draw (default: %(default)s)')
    parser.add_argument('--first', type=int, default=0, help='first iteration to draw (default: %(default)s)')
    return parser


def build_dataset(cfg: Config) -> UDADataset:
    """Builds the training data of a config.

    Raises:
        ValueError: If it is not a :class:`UDADataset`.
    """
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    if not isinstance(dataset, UDADataset):
        raise ValueError(f'train_dataloader.dataset is a {type(dataset).__name__}, this tool draws a UDADataset: put '
                         "the dataset into dict(type='UDADataset', source=...)")
    return dataset


def read_batch(dataset: UDADataset, streams: KeyedStreams, iteration: int, batch_size: int) -> dict[str, torch.Tensor]:
    """Reads the batch of one iteration as the parts that :func:`step_tiles` draws."""
    items = [dataset[DrawKey(streams.seed, iteration * batch_size + index)] for index in range(batch_size)]
    parts = dict(source_image=_images(items, 'source'),
                 source_label=torch.stack([item['source']['data_samples'].gt_sem_seg.data[0].long() for item in items]))
    if 'target' in items[0]:
        parts['target_image'] = _images(items, 'target')
    return parts


def add_mix(parts: dict[str, torch.Tensor], streams: KeyedStreams, iteration: int,
            augmentation: StrongAugmentation) -> None:
    """Adds the ClassMix images that a training makes of the batch in this iteration."""
    def uniform(name: str, *key: int, size: int | None = None) -> np.ndarray | float:
        return streams.uniform(f'mix.{name}', iteration, *key, size=size)

    labels_BHW, indices = parts['source_label'], range(len(parts['source_label']))
    scores_BK = torch.from_numpy(np.stack([uniform('classes', index, size=NUM_IDS) for index in indices]))
    mask_BHW = mix_masks(labels_BHW, choose_classes(present_ids(labels_BHW), scores_BK))
    mixed = class_mix(mask_BHW, (parts['source_image'].float(), labels_BHW),
                      (parts['target_image'].float(), torch.full_like(labels_BHW, IGNORE_INDEX),
                        torch.zeros(labels_BHW.shape)))
    # Augmentation commutes with the network's normalisation, so it may work on 8-bit values.
    images = augmentation(mixed.images_BCHW, (torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)), uniform, indices)
    parts.update(mixed_image=images.round().clamp(0, 255).to(torch.uint8), mixed_label=mixed.labels_BHW)


def main() -> None:
    """Draws what the command line asks for."""
    parser = make_parser()
    args = parser.parse_args()
    if args.number < 1 or args.first < 0:
        parser.error(f'--number {args.number} --first {args.first}: give at least 1 and at least 0')
    register_all_modules()
    cfg = load_config(parser, args)
    with one_line_errors('browse_dataset'):
        dataset = build_dataset(cfg)
        draw(cfg, dataset, args)
    print(f'\n{args.number} pictures are in {args.output_dir}')


def draw(cfg: Config, dataset: UDADataset, args: argparse.Namespace) -> None:
    """Writes one picture for each iteration, a row for each sample of its batch."""
    streams = KeyedStreams(cfg.get('randomness', {}).get('seed') or 0)
    objectives = cfg.model.get('objectives', [])
    mixing = next((objective for objective in objectives if objective.type == 'ClassMixSelfTraining'), None)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    for iteration in track_iter_progress(range(args.first, args.first + args.number)):
        parts = read_batch(dataset, streams, iteration, cfg.train_dataloader.batch_size)
        if mixing is not None and 'target_image' in parts:
            add_mix(parts, streams, iteration, StrongAugmentation(**(mixing.get('augmentation') or {})))
        tiles = {name: part.numpy() for name, part in parts.items()}
        palette = dataset.metainfo['palette']
        panel = compose_panel([step_tiles(tiles, index, palette) for index in range(len(tiles['source_image']))])
        path = args.output_dir / f'iteration_{iteration:06d}.png'
        if not cv2.imwrite(str(path), cv2.cvtColor(panel, cv2.COLOR_RGB2BGR)):
            raise OSError(f'{path} cannot be written: is the disk full, or the folder protected?')


def _images(items: list[dict], domain: str) -> torch.Tensor:
    """RGB uint8 [B, 3, H, W]; samples come as BGR."""
    return torch.stack([item[domain]['inputs'].flip(0) for item in items])


if __name__ == '__main__':
    main()
