"""Stock configs of MMSegmentation become adaptations: five networks train a step, nothing of the stock data is left."""
import math
import runpy
import sys
from pathlib import Path

import cv2
import mmseg
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmseg.registry import DATASETS, MODELS

from mmseg_cicld.migration import OldConfigError
from mmseg_cicld.migration.stock_config import adapt_stock_config

ROOT = Path(__file__).parents[2]
STOCK = Path(mmseg.__file__).parent / '.mim/configs'
CONFIGS = ['pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024',
           'segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024',
           'deeplabv3plus/deeplabv3plus_r50-d8_4xb4-80k_ade20k-512x512', 'hrnet/fcn_hr18s_4xb2-40k_cityscapes-512x1024',
           'mobilenet_v2/mobilenet-v2-d8_deeplabv3plus_4xb2-80k_cityscapes-512x1024',
           'upernet/upernet_r50_4xb4-20k_voc12aug-512x512']
SIDE = 64


@pytest.fixture
def data(tmp_path: Path) -> Path:
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
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / path), content)
    (tmp_path / 'names.txt').write_text('\n'.join(f'a_{index}_leftImg8bit' for index in range(4)))
    return tmp_path


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


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.split('/')[1])
def test_a_stock_config_trains_a_step_with_its_own_network_and_crop(path, data, mmseg_scope):
    stock = shrunk(path, data)
    config = Config(adapt_stock_config(stock, str(data / 'target'), 'mic_dacs'))
    assert config.model.segmentor.data_preprocessor.size == (SIDE, SIDE) and 'data_preprocessor' not in config
    assert config.train_dataloader.sampler == dict(type='KeyedInfiniteSampler')
    assert config.optim_wrapper == stock.optim_wrapper and config.param_scheduler == stock.param_scheduler
    assert config.model.segmentor.decode_head == stock.model.decode_head
    dataset = DATASETS.build(config.train_dataloader.dataset)
    assert (dataset.target.ignore_index, len(dataset.target)) == (255, 4)
    batch = pseudo_collate([dataset[0], dataset[1]])
    assert 'gt_sem_seg' not in batch['target']['data_samples'][0]
    model = MODELS.build(config.model).train()
    log = model.train_step(batch, build_optim_wrapper(model, config.optim_wrapper))
    assert all(math.isfinite(value) for value in log.values())
    assert {name.split('.')[0] for name in log if '.' in name} == {'source', 'mix', 'masked'}
    assert model.data_preprocessor(batch['source'], True)['inputs'].shape == (2, 3, SIDE, SIDE)
    assert dataset.source.dataset.reduce_zero_label == ('ade20k' in path)


@pytest.mark.parametrize('change, message', [
    ({'train_cfg.type': 'EpochBasedTrainLoop'}, "train_cfg.type is 'EpochBasedTrainLoop'"),
    ({'optim_wrapper.constructor': 'LearningRateDecayOptimizerConstructor'}, 'would find none in the student'),
    ({'train_dataloader.dataset.pipeline': []}, 'has no RandomCrop'),
    ({'model.segmentor': {}}, 'adapts already'),
    ({'optim_wrapper': None}, 'has no optim_wrapper'),
])
def test_what_has_no_counterpart_is_refused_by_key(change, message):
    config = Config.fromfile(STOCK / f'{CONFIGS[0]}.py')
    config.merge_from_dict(change)
    with pytest.raises(OldConfigError, match=message):
        adapt_stock_config(config, 'target')


def test_a_wrapped_dataset_and_an_unknown_method_are_refused():
    config = Config.fromfile(STOCK / f'{CONFIGS[0]}.py')
    with pytest.raises(OldConfigError, match="the method is 'magic', allowed are source_only, dacs"):
        adapt_stock_config(config, 'target', 'magic')
    config.train_dataloader.dataset = dict(type='RepeatDataset', dataset=config.train_dataloader.dataset, times=2)
    with pytest.raises(OldConfigError, match='is a RepeatDataset without a pipeline'):
        adapt_stock_config(config, 'target')


def test_the_tool_writes_a_config_that_needs_no_other_file(tmp_path, monkeypatch, capsys):
    out = tmp_path / 'new/adapted.py'
    monkeypatch.setattr(sys, 'argv', ['adapt_config.py', str(STOCK / f'{CONFIGS[1]}.py'), '--target', 'data/mine',
                                      '-o', str(out)])
    runpy.run_path(str(ROOT / 'tools/misc/adapt_config.py'), run_name='__main__')
    written = Config.fromfile(out)
    expected = adapt_stock_config(Config.fromfile(STOCK / f'{CONFIGS[1]}.py'), 'data/mine')
    assert written._cfg_dict.to_dict() == expected and f'wrote {out}' in capsys.readouterr().out
    assert written.train_dataloader.dataset.target.data_prefix.img_path == 'data/mine'
