"""The dataset configs: they load, build on tiny data, and have the published scales and crops."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATA_SAMPLERS
from mmseg.registry import DATASETS, METRICS
from tiny_datasets import random_image, random_label, write_image

from mmseg_cicld.datasets import audit_train_datasets, check_num_classes
from mmseg_cicld.datasets.uda_dataset import DrawKey

FOLDER = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'
CONFIGS = sorted(path.name for path in FOLDER.glob('*.py'))
# Of files of that size (height, width): the published size after Resize.
SIZES = {
    'gta2cityscapes-512x512.py': ((1052, 1914), (704, 1280), (1024, 2048), (512, 1024)),
    'synthia2cityscapes-512x512.py': ((760, 1280), (760, 1280), (1024, 2048), (512, 1024)),
    'cityscapes2acdc-512x512.py': ((1024, 2048), (512, 1024), (1080, 1920), (540, 960)),
    'cityscapes2darkzurich-512x512.py': ((1024, 2048), (512, 1024), (1080, 1920), (540, 960)),
    'gta2cityscapes-1024x1024.py': ((1052, 1914), (1407, 2560), (1024, 2048), (1024, 2048)),
    'synthia2cityscapes-1024x1024.py': ((760, 1280), (1520, 2560), (1024, 2048), (1024, 2048)),
    'cityscapes2acdc-1024x1024.py': ((1024, 2048), (1024, 2048), (1080, 1920), (1080, 1920)),
    'cityscapes2darkzurich-1024x1024.py': ((1024, 2048), (1024, 2048), (1080, 1920), (1080, 1920)),
}


def crop_side(name: str) -> int:
    """The published crop is a square whose side stands in the name of the config."""
    return 1024 if '1024x1024' in name else 512


def write_data(dataset: dict, root: Path, hw: tuple[int, int]) -> None:
    """Writes two images, with labels if the config has some, where the config wants them below ``root``."""
    if 'datasets' in dataset:
        for part in dataset.datasets:
            write_data(part, root, hw)
        return
    built = DATASETS.build(dict(dataset, lazy_init=True, pipeline=[]))
    suffix = built.img_suffix if isinstance(built.img_suffix, str) else '.jpg'
    dataset.data_root, dataset.serialize_data = str(root / dataset.data_root), False
    for i in range(2):
        prefix = dataset.data_prefix
        image = np.tile(random_image(i, 4, 4), (hw[0] // 4, -(-hw[1] // 4), 1))[:, :hw[1]]
        write_image(Path(dataset.data_root, prefix.img_path, f'0{i}{suffix}'), image)
        if prefix.get('seg_map_path'):
            write_image(Path(dataset.data_root, prefix.seg_map_path, f'0{i}{built.seg_map_suffix}'),
                        random_label(i, *hw))


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads a config and writes tiny data where it looks for it."""
    def call(name: str, source_hw: tuple[int, int], target_hw: tuple[int, int]) -> Config:
        monkeypatch.chdir(tmp_path)
        config = Config.fromfile(FOLDER / name)
        if name == 'own_data.py':
            (tmp_path / 'data' / 'own').mkdir(parents=True)
            (tmp_path / 'data' / 'own' / 'classes.txt').write_text('road\ncar\nsign\n')
        uda = config.train_dataloader.dataset
        parts = [(uda.source, source_hw), (config.val_dataloader.dataset, target_hw),
                 (config.test_dataloader.dataset, target_hw)]
        for part, hw in parts + ([(uda.target, target_hw)] if uda.get('target') else []):
            write_data(part, tmp_path, hw)
        return config
    return call


@pytest.mark.parametrize('name', CONFIGS)
def test_config_gives_batches(load, name):
    sizes = ((96, 160), (128, 256)) if name.startswith(('street', 'own')) else ((288, 320), (288, 320))
    config = load(name, *sizes)
    model = dict(type='EncoderDecoder', decode_head=dict())
    config.model = Config(model)._cfg_dict
    assert check_num_classes(config) == (3 if name == 'own_data.py' else 19)
    assert all(report.ok for report in audit_train_datasets(config))
    dataset = DATASETS.build(config.train_dataloader.dataset)
    sampler = DATA_SAMPLERS.build(dict(config.train_dataloader.sampler, dataset=dataset, seed=0))
    item = dataset[next(iter(sampler))]
    assert ('target' in item) == ('source-only' not in name)
    for part in item.values():
        assert part['inputs'].dtype == torch.uint8 and max(part['inputs'].shape[1:]) <= crop_side(name)
    METRICS.build(config.val_evaluator), METRICS.build(config.test_evaluator)


@pytest.mark.parametrize('name', SIZES)
def test_published_sizes(load, name):
    source_hw, source_resized, target_hw, target_resized = SIZES[name]
    crop_size = (crop_side(name), crop_side(name))
    config = load(name, source_hw, target_hw)
    uda = config.train_dataloader.dataset
    assert config.train_dataloader.batch_size == 2
    assert config.crop_size == crop_size
    for part, resized, ratio in ((uda.source, source_resized, 0.75), (uda.target, target_resized, 1.0)):
        steps = {step['type']: step for step in part.pipeline}
        dataset = DATASETS.build(dict(part, pipeline=part.pipeline[:[*steps].index('Resize') + 1]))
        assert dataset[0]['img'].shape[:2] == resized
        assert steps['RandomCrop'].crop_size == crop_size
        assert steps['RandomCrop'].get('cat_max_ratio', 1.0) == ratio
        assert steps['RandomFlip'].prob == 0.5 and 'PhotoMetricDistortion' not in steps
    item = DATASETS.build(uda)[DrawKey(0, 0)]
    assert item['source']['inputs'].shape == item['target']['inputs'].shape == (3, *crop_size)
    for part in (config.val_dataloader.dataset, config.test_dataloader.dataset):
        sample = DATASETS.build(part)[0]
        assert sample['inputs'].shape[1:] == target_resized
        assert sample['data_samples'].gt_sem_seg.data.shape[1:] == target_hw


@pytest.mark.parametrize('name', ['gta2cityscapes-1024x1024.py', 'synthia2cityscapes-1024x1024.py'])
def test_pseudo_labels_stay_off_the_margins_of_cityscapes(load, name):
    config = load(name, (64, 64), (1024, 2048))
    target = config.train_dataloader.dataset.target
    target.pipeline = [step for step in target.pipeline if step.type not in ('RandomCrop', 'RandomFlip')]
    mask = DATASETS.build(target)[0]['data_samples'].valid_pseudo_mask.data
    expected = torch.zeros(1, 1024, 2048, dtype=torch.uint8)
    expected[:, 30:-240, 30:-30] = 1
    assert torch.equal(mask, expected)


@pytest.mark.parametrize('name', ['cityscapes2acdc-1024x1024.py', 'cityscapes2darkzurich-1024x1024.py'])
def test_pseudo_labels_of_adverse_conditions_have_no_margins(load, name):
    config = load(name, (64, 64), (108, 192))
    item = DATASETS.build(config.train_dataloader.dataset.target)[0]
    assert 'valid_pseudo_mask' not in item['data_samples']


@pytest.mark.parametrize('benchmark, source_hw, target_hw, short', [
    ('gta2cityscapes', (528, 960), (512, 1024), 1440), ('synthia2cityscapes', (380, 640), (512, 1024), 1024),
    ('cityscapes2acdc', (512, 1024), (540, 960), 1024), ('cityscapes2darkzurich', (512, 1024), (540, 960), 1024)])
def test_random_scales_are_of_the_short_side(load, benchmark, source_hw, target_hw, short):
    config = load(f'{benchmark}-1024x1024_random-scale.py', source_hw, target_hw)
    uda = config.train_dataloader.dataset
    for part, side, ratio in ((uda.source, short, 0.75), (uda.target, 1024, 1.0)):
        steps = {step['type']: step for step in part.pipeline}
        assert steps['RandomCrop'].crop_size == (1024, 1024) and steps['RandomCrop'].get('cat_max_ratio', 1.0) == ratio
        assert steps['RandomResize'].ratio_range == (0.9, 1.1) and steps['RandomFlip'].prob == 0.5
        part.pipeline = part.pipeline[:[*steps].index('RandomResize') + 1]
        dataset = DATASETS.build(part)
        sizes = [dataset[0]['img'].shape[:2] for _ in range(6)]
        assert all(0.9 * side - 1 <= size[0] <= 1.1 * side for size in sizes) and len({size[0] for size in sizes}) > 3
        height, width = sizes[0]
        assert width / height == pytest.approx(source_hw[1] / source_hw[0] if part is uda.source else
                                               target_hw[1] / target_hw[0], rel=2e-3)
    for part in (config.val_dataloader.dataset, config.test_dataloader.dataset):
        assert DATASETS.build(part)[0]['inputs'].shape[1] == 1024


def test_margins_in_per_cent_follow_the_image_and_padding_has_none(load):
    config = load('synthia2cityscapes-1024x1024_random-scale.py', (380, 640), (512, 1024))
    target = config.train_dataloader.dataset.target
    target.pipeline = [step for step in target.pipeline if step.type not in ('RandomCrop', 'RandomFlip')]
    target.pipeline[2].ratio_range = (0.5, 0.5)
    target.pipeline[3].size = (1100, 600)
    sample = DATASETS.build(target)[0]
    mask = sample['data_samples'].valid_pseudo_mask.data
    expected = torch.zeros(1, 600, 1100, dtype=torch.uint8)
    expected[:, 15:512 - 128, 30:1024 - 30] = 1  # int(0.03 * 512), int(0.25 * 512), int(0.03 * 1024)
    assert torch.equal(mask, expected)
    assert not sample['inputs'][:, 512:].any() and not sample['inputs'][:, :, 1024:].any()


def test_validation_and_test_data_give_the_same(load):
    config = load('street.py', (128, 256), (128, 256))
    val, test = (DATASETS.build(part.dataset)[1] for part in (config.val_dataloader, config.test_dataloader))
    assert torch.equal(val['inputs'], test['inputs'])
    assert torch.equal(val['data_samples'].gt_sem_seg.data, test['data_samples'].gt_sem_seg.data)


def test_small_images_of_your_own_are_marked_where_padded(load):
    config = load('own_data.py', (96, 160), (32, 128))  # resized to 256 x 1024, then cropped to 256 x 512
    item = DATASETS.build(config.train_dataloader.dataset)[0]
    mask = item['target']['data_samples'].valid_pseudo_mask.data
    assert item['target']['inputs'].shape == (3, 256, 512) and mask.shape == (1, 512, 512)
    assert mask[:, :256].all() and not mask[:, 256:].any()
