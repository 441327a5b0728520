"""A ViT adapter learns to classify images of folders; its checkpoint begins a training."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from PIL import Image
from test_tuned_adapter import ADAPTER
from toy_training import toy_config, train

from mmseg_cicld.datasets import DrawKey

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/vfm_uda/pretraining/adapter_dinov2-large_4xb8-50k_imagenet-1024x1024.py'
QUIET = {'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None}
BARE = QUIET | {'model.segmentor.backbone': ADAPTER, 'model.segmentor.decode_head.in_channels': 16}
PIPELINE = [dict(type='LoadImageStrictly'), dict(type='RandomCrop', crop_size=(32, 32)), dict(type='PackUDAInputs')]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Dark images of one class and bright ones of another, one of them in a sub-folder."""
    init_default_scope('mmseg')
    for place, name in enumerate(('n01/a.png', 'n01/deep/b.png', 'n02/a.png', 'n02/b.JPEG')):
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(place).integers(0, 60, (40, 48, 3), np.uint8)
        Image.fromarray(noise + np.uint8(180 * name.startswith('n02'))).save(path)
    return tmp_path / 'images'


def options(folder: Path) -> dict:
    network = toy_config('none', options=BARE).model.segmentor
    return QUIET | {
        'custom_hooks.0.file': str(folder.parent / 'record.jsonl'),
        'model': dict(_delete_=True, type='AdapterPretraining', network=network, num_classes=2),
        'train_dataloader.dataset': dict(_delete_=True, type='ImageFolderDataset', data_root=str(folder), pipeline=PIPELINE)}


def test_classes_are_the_folders_and_every_image_comes_once_an_epoch(folder):
    dataset = DATASETS.build(dict(type='ImageFolderDataset', data_root=str(folder), pipeline=PIPELINE))
    assert len(dataset) == 4 and dataset.metainfo['classes'] == ('n01', 'n02')
    drawn = [dataset[DrawKey(3, position)] for position in range(4)]
    assert len({sample['data_samples'].img_path for sample in drawn}) == 4
    for sample in drawn:
        bright = sample['inputs'].float().mean() > 128
        assert sample['data_samples'].class_id == int(bright) and sample['inputs'].shape == (3, 32, 32)
    assert torch.equal(drawn[1]['inputs'], dataset[DrawKey(3, 1)]['inputs'])
    with pytest.raises(ValueError, match=r'data_root=.* has 0 folders: give one that has a folder of images for each'):
        DATASETS.build(dict(type='ImageFolderDataset', data_root=str(folder / 'n02'), pipeline=PIPELINE))


def test_the_adapter_learns_and_its_checkpoint_begins_a_training(folder, tmp_path):
    runner = train(tmp_path / 'before', options=options(folder))
    train(tmp_path / 'stopped', options=options(folder) | {'train_cfg.max_iters': 3})
    train(tmp_path / 'stopped', options=options(folder) | {'resume': True})
    model = runner.model
    assert not model.student.backbone.vit.training and model.student.backbone.prior.training
    assert not any(module.training for module in model.eval().modules())
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning and not any('.vit.' in name or 'decode_head' in name for name in learning)
    given = torch.load(tmp_path / 'before/iter_8.pth', weights_only=True)['state_dict']
    again = torch.load(tmp_path / 'stopped/iter_8.pth', weights_only=True)['state_dict']
    assert all(torch.equal(value, again[name]) for name, value in given.items()), 'resume is exact'
    fresh = MODELS.build(toy_config('none', options=options(folder)).model)
    assert any(not torch.equal(value, given[name]) for name, value in fresh.named_parameters() if '.prior.' in name)
    adapted = train(tmp_path / 'after', options=BARE | {
        'load_from': str(tmp_path / 'before/iter_8.pth'), 'train_cfg.max_iters': 1, 'optim_wrapper.optimizer.lr': 0.}).model
    for network in (adapted.student, adapted.teacher.network):
        for name, value in network.backbone.named_parameters():
            assert torch.equal(value, given[f'student.backbone.{name}']), name


def test_what_it_is_not_for_is_named(folder):
    model = dict(options(folder)['model'])
    model.pop('_delete_')
    with pytest.raises(ValueError, match='nothing stands beside a transformer: give a ViTAdapterBackbone'):
        MODELS.build(dict(model, network=toy_config('none').model.segmentor))
    with pytest.raises(ValueError, match="has no mode 'predict': set val_cfg"):
        MODELS.build(model)(torch.zeros(1, 3, 32, 32), mode='predict')


def test_the_config_is_for_imagenet():
    config = Config.fromfile(CONFIG)
    assert config.model.network.backbone.type == 'ViTAdapterBackbone' and config.model.num_classes == 1000
    assert config.model.network.data_preprocessor.size == config.crop_size == (1024, 1024)
    assert config.train_cfg.max_iters == 50000 and config.train_dataloader.dataset.type == 'ImageFolderDataset'
